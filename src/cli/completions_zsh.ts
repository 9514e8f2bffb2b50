/**
 * Completions for zsh, as one file of a folder of $fpath, or sourced. They are specs of `_arguments`, whose actions are
 * a few fixed ones: a text of the command table gets into a description only.
 */
import type {
  CompletionOperand,
  CompletionOption,
  CompletionTree,
  CompletionValue,
} from "./completion_tree.ts";

export function zshCompletions(trees: readonly CompletionTree[]): string {
  const programs = trees.map(({ program }) => program).join(" ");
  const sets = new Map(
    trees.flatMap((tree) => tree.sets.map((set) => [setKey(tree, set.name), set] as const)),
  );
  return `#compdef ${programs}
# zsh completion for Postern, made from its command table by "postern completions zsh"

# For the program and the words so far: the words that may follow, and the set of options that may.
_postern_node() {
  next=() takes=''
  case $1 in
${
    trees.flatMap((tree) =>
      tree.nodes.map(({ key, next, set }) =>
        `    (${quoted(key)})\n` +
        `      takes=${quoted(setKey(tree, set))}\n` +
        `      next=(${next.map(({ word, summary }) => quoted(`${word}:${summary}`)).join(" ")}) ;;\n`
      )
    ).join("")
  }    (*) return 1 ;;
  esac
}

# For a set: its options and operands, as _arguments wants them.
_postern_set() {
  specs=()
  case $1 in
${
    [...sets].map(([key, set]) =>
      `    (${quoted(key)})\n      specs=(\n${
        [...set.options.flatMap(optionSpecs), ...set.operands.map(operandSpec)]
          .map((spec) => `        ${quoted(spec)}\n`).join("")
      }      ) ;;\n`
    ).join("")
  }  esac
}

# Whether a bare -- begins another command line.
_postern_nests() {
  case $1 in
${
    [...sets].filter(([, { takesCommandLine }]) => takesCommandLine).map(([key]) =>
      `    (${quoted(key)}) ;;\n`
    )
      .join("")
  }    (*) return 1 ;;
  esac
}

_postern() {
  local curcontext="$curcontext" state line takes key=$service dashes ret=1
  local -a next specs
  typeset -A opt_args
  while (( CURRENT > 2 )) && _postern_node "$key $words[2]"; do
    key+=" $words[2]"
    shift words
    (( CURRENT-- ))
  done
  _postern_node "$key" || return 1
  dashes=\${words[(i)--]}
  if _postern_nests "$takes" && (( dashes < CURRENT )); then
    words=("$service" "\${(@)words[dashes + 1,-1]}")
    (( CURRENT -= dashes - 1 ))
    _postern
    return
  fi
  _postern_set "$takes"
  (( $#next )) && specs+=(':command:->next')
  _arguments -s -S : "$specs[@]" && ret=0
  [[ $state == next ]] && _describe -t commands command next && ret=0
  return ret
}

if [[ $funcstack[1] == _postern ]]; then
  _postern "$@"
else
  compdef _postern ${programs}
fi
`;
}

/** The sets of commands are the same in every program; those of a program alone are its own. */
function setKey({ program }: CompletionTree, set: string): string {
  return set === "program" ? `${program} program` : set;
}

/** The specs of an option, one a spelling. It is offered once: each of them rules out both. */
function optionSpecs({ names, valueName, value, summary }: CompletionOption): string[] {
  const excluded = names.length > 1 ? `(${names.join(" ")})` : "";
  const action = value.kind === "none" ? "" : `:${escaped(valueName)}:${actionOf(value)}`;
  return names.map((name) => {
    // "=" also takes --name=value, "+" also -xvalue.
    const form = value.kind === "none" ? name : name.startsWith("--") ? `${name}=` : `${name}+`;
    return `${excluded}${form}[${escaped(summary)}]${action}`;
  });
}

function operandSpec({ valueName, value, isMany }: CompletionOperand): string {
  return `${isMany ? "*" : ""}:${isMany ? "" : ":"}${escaped(valueName)}:${actionOf(value)}`;
}

function actionOf(value: CompletionValue): string {
  switch (value.kind) {
    case "words":
      return `(${value.words.join(" ")})`;
    case "file":
      return "_files";
    case "folder":
      return "_files -/";
    default:
      return " ";
  }
}

/** A text inside of a spec. */
function escaped(text: string): string {
  return text.replaceAll(/[\\[\]:]/g, (each) => `\\${each}`);
}

/** A text as one word of zsh. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
