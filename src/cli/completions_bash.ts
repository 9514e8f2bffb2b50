/**
 * Completions for bash, 3.2 and later, without the bash-completion package. Nothing of the tables is ever expanded or
 * evaluated: they are single-quoted words, and help texts are not in them at all.
 */
import type { CompletionOption, CompletionTree, CompletionValue } from "./completion_tree.ts";

export function bashCompletions({ program, nodes, sets }: CompletionTree): string {
  const name = `_${program.replaceAll("-", "_")}`;
  return `# bash completion for ${program}, made from its command table by "${program} completions bash"

# For the program and the words so far: the words that may follow, and the set of options that may.
${name}_node() {
  next='' takes=''
  case $1 in
${
    nodes.map(({ key, next, set }) =>
      `    ${quoted(key)}) next=${quoted(next.map(({ word }) => word).join(" "))} takes=${quoted(set)} ;;\n`
    ).join("")
  }    *) return 1 ;;
  esac
}

# For a set and an option: its spellings, and what follows it.
${name}_option() {
  case $1 in
${
    sets.flatMap((set) =>
      set.options.map((option) =>
        `    ${option.names.map((each) => quoted(`${set.name} ${each}`)).join(" | ")}) ${
          optionWords(option)
        } ;;\n`
      )
    ).join("")
  }    *) return 1 ;;
  esac
}

# For a set: its options. For a set and a number: what that word of it is.
${name}_set() {
  case $1 in
${
    sets.flatMap((set) => [
      `    ${quoted(set.name)}) options=${quoted(set.options.map(longName).join(" "))} ;;\n`,
      ...set.operands.map(({ value, isMany }, i) =>
        `    ${isMany ? `${quoted(`${set.name} `)}[0-9]*` : quoted(`${set.name} ${i}`)}) value=${
          valueWord(value)
        } ;;\n`
      ),
    ]).join("")
  }    *) return 1 ;;
  esac
}

# Whether a bare -- begins another command line.
${name}_nests() {
  case $1 in
${
    sets.filter(({ takesCommandLine }) => takesCommandLine).map((set) => `    ${quoted(set.name)}) ;;\n`)
      .join("")
  }    *) return 1 ;;
  esac
}

${name}() {
  local IFS=$' \\t\\n' next='' takes='' names='' value='' options='' words rest word i
  COMPREPLY=()
  # bash cuts words at = and : as well; what has no space between is put together again, up to the cursor.
  words=()
  local line=\${COMP_LINE:0:COMP_POINT}
  for ((i = 0; i <= COMP_CWORD; i++)); do
    rest=\${line#"\${line%%[![:space:]]*}"}
    word=\${COMP_WORDS[i]}
    ((i == COMP_CWORD)) && word=$rest
    if ((i > 0)) && [[ $rest == "$line" ]]; then
      words[\${#words[@]}-1]+=$word
    else
      words+=("$word")
    fi
    line=\${rest#"$word"}
  done

  local last=$((\${#words[@]} - 1)) key=${quoted(program)} given=' ' expected='' operand=0 ended=0
  for ((i = 1; i < last; i++)); do
    word=\${words[i]}
    if [[ -n $expected ]]; then
      expected=''
      continue
    fi
    ${name}_node "$key"
    if [[ $word == -- ]] && ((ended == 0)); then
      if ${name}_nests "$takes"; then
        key=${quoted(program)} given=' ' operand=0
      else
        ended=1
      fi
    elif [[ $word == --*=* ]] && ((ended == 0)); then
      ${name}_option "$takes \${word%%=*}" && given+="$names "
    elif [[ $word == --* ]] && ((ended == 0)); then
      if ${name}_option "$takes $word"; then
        given+="$names "
        [[ $value == none ]] || expected=$value
      fi
    elif [[ $word == -?* ]] && ((ended == 0)); then
      rest=\${word#-}
      while [[ -n $rest ]]; do
        ${name}_option "$takes -\${rest:0:1}" || break
        given+="$names "
        rest=\${rest:1}
        if [[ $value != none ]]; then
          [[ -n $rest ]] || expected=$value
          break
        fi
      done
    elif ((operand == 0)) && ${name}_node "$key $word"; then
      key="$key $word"
    else
      operand=$((operand + 1))
    fi
  done

  ${name}_node "$key"
  local current=\${words[last]} prefix='' offered=''
  if [[ -z $expected && $current == --*=* ]] && ((ended == 0)); then
    ${name}_option "$takes \${current%%=*}" || value=any
    expected=$value prefix="\${current%%=*}="
  elif [[ -z $expected && $current != -* ]]; then
    ((operand == 0)) && offered=$next
    if ${name}_set "$takes $operand"; then expected=$value; fi
  fi
  case $expected in
    # Nothing is answered, so that bash completes files by itself.
    file) return ;;
    folder) compopt +o default -o dirnames 2>/dev/null; return ;;
    'words '*) offered+=" \${expected#words }" ;;
    '')
      if [[ -z $offered ]] && ((ended == 0)) && ${name}_set "$takes"; then
        for word in $options; do
          ${name}_option "$takes $word"
          [[ $given == *" $word "* ]] || offered+=" $word"
        done
      fi
      ;;
  esac
  compopt +o default 2>/dev/null
  for word in $offered; do
    [[ $prefix$word == "$current"* ]] || continue
    # What comes before a = is no part of the word that bash replaces.
    if [[ $COMP_WORDBREAKS == *=* ]]; then COMPREPLY+=("$word"); else COMPREPLY+=("$prefix$word"); fi
  done
}

complete -o default -F ${name} ${program}
`;
}

function optionWords({ names, value }: CompletionOption): string {
  return `names=${quoted(names.join(" "))} value=${valueWord(value)}`;
}

function valueWord(value: CompletionValue): string {
  return quoted(value.kind === "words" ? ["words", ...value.words].join(" ") : value.kind);
}

function longName({ names }: CompletionOption): string {
  return names.at(-1) ?? "";
}

/** A text as one word of bash. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
