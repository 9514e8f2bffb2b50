/** Completions for fish, 3.1 and later. Texts are single-quoted words and never evaluated. */
import type { CompletionTree, CompletionValue, CompletionWord } from "./completion_tree.ts";

export function fishCompletions({ program, nodes, sets }: CompletionTree): string {
  const name = `__${program.replaceAll("-", "_")}`;
  return `# fish completion for ${program}, made from its command table by "${program} completions fish"

# For the program and the words so far: the words that may follow, each with its meaning.
function ${name}_next
    switch $argv[1]
${
    nodes.filter(({ next }) => next.length > 0).map(({ key, next }) =>
      `        case ${quoted(key)}\n${printed(next)}`
    ).join("")
  }    end
end

# For the program and the words so far: the set of options that may follow; fails if there is no such command.
function ${name}_takes
    switch $argv[1]
${
    nodes.map(({ key, set }) => `        case ${quoted(key)}\n            echo ${quoted(set)}\n`).join("")
  }        case '*'
            return 1
    end
end

# For a set and an option: what follows it, then its spellings, a line each.
function ${name}_option
    switch $argv[1]
${
    sets.flatMap(({ name: set, options }) =>
      options.map(({ names, value }) =>
        `        case ${names.map((each) => quoted(`${set} ${each}`)).join(" ")}\n` +
        `            printf '%s\\n' ${[valueWord(value), ...names].map(quoted).join(" ")}\n`
      )
    ).join("")
  }        case '*'
            return 1
    end
end

# For a set: its options, each with its meaning. For a set and a number: what that word of it is.
function ${name}_set
    switch $argv[1]
${
    sets.flatMap(({ name: set, options, operands }) => [
      `        case ${quoted(set)}\n`,
      printed(options.map(({ names, summary }) => ({ word: names.at(-1) ?? "", summary }))),
      ...operands.map(({ value, isMany }, i) =>
        `        case ${quoted(`${set} ${isMany ? "*" : i}`)}\n            echo ${quoted(valueWord(value))}\n`
      ),
    ]).join("")
  }    end
end

function ${name}_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l key ${quoted(program)}
    set -l given
    set -l expected ''
    set -l operand 0
    set -l ended 0
    for word in $words[2..-1]
        if test -n "$expected"
            set expected ''
            continue
        end
        set -l takes (${name}_takes $key)
        if test $ended = 0; and string match -q -- -- $word
            if contains -- "$takes" ${
    [...sets.filter(({ takesCommandLine }) => takesCommandLine).map((set) => set.name), ""].map(quoted).join(
      " ",
    )
  }
                set key ${quoted(program)}
                set given
                set operand 0
            else
                set ended 1
            end
        else if test $ended = 0; and string match -qr '^--[^=]+=' -- $word
            set -a given (${name}_option "$takes "(string replace -r '=.*' '' -- $word))[2..-1]
        else if test $ended = 0; and string match -q -- '--*' $word
            set -l found (${name}_option "$takes $word")
            if set -q found[1]
                set -a given $found[2..-1]
                test $found[1] = none; or set expected $found[1]
            end
        else if test $ended = 0; and string match -qr '^-.' -- $word
            set -l letters (string split '' -- (string sub -s 2 -- $word))
            while set -q letters[1]
                set -l found (${name}_option "$takes -$letters[1]")
                set -q found[1]; or break
                set -e letters[1]
                set -a given $found[2..-1]
                if test $found[1] != none
                    set -q letters[1]; or set expected $found[1]
                    break
                end
            end
        else if test $operand = 0; and ${name}_takes "$key $word" >/dev/null
            set key "$key $word"
        else
            set operand (math $operand + 1)
        end
    end

    set -l takes (${name}_takes $key)
    set -l prefix ''
    if test -z "$expected"; and test $ended = 0; and string match -qr '^--[^=]+=' -- $current
        set prefix (string replace -r '=.*' '=' -- $current)
        set current (string replace -r '^[^=]*=' '' -- $current)
        set -l found (${name}_option "$takes "(string replace '=' '' -- $prefix))
        set expected any
        set -q found[1]; and set expected $found[1]
    else if test -z "$expected"; and not string match -q -- '-*' $current
        set -l offered
        test $operand = 0; and set offered (${name}_next $key)
        set expected (${name}_set "$takes $operand")
        if set -q offered[1]
            printf '%s\\n' $offered
            return
        end
    end
    switch "$expected"
        case file
            printf '%s\\n' $prefix(__fish_complete_path $current)
        case folder
            printf '%s\\n' $prefix(__fish_complete_directories $current)
        case 'words *'
            printf '%s\\n' $prefix(string split ' ' -- (string replace 'words ' '' -- $expected))
        case ''
            test $ended = 0; or return
            for line in (${name}_set $takes)
                contains -- (string replace -r '\\t.*' '' -- $line) $given; or printf '%s\\n' $line
            end
    end
end

complete -c ${program} -e
complete -c ${program} -f -a '(${name}_complete)'
`;
}

function printed(words: readonly CompletionWord[]): string {
  if (words.length === 0) return "            true\n";
  return `            printf '%s\\t%s\\n' ${
    words.map(({ word, summary }) => `${quoted(word)} ${quoted(summary)}`).join(" ")
  }\n`;
}

function valueWord(value: CompletionValue): string {
  return value.kind === "words" ? ["words", ...value.words].join(" ") : value.kind;
}

/** A text as one word of fish. */
function quoted(text: string): string {
  return `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'").replaceAll(/[\t\n]/g, " ")}'`;
}
