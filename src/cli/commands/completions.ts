import { Argument, Command } from 'commander'
import { io } from '../terminal/io.ts'
import { EXIT, offline, PLAIN_EXIT_CODES } from '../terminal/steps.ts'

const SHELLS = ['bash', 'zsh', 'fish'] as const
type Shell = (typeof SHELLS)[number]

const HELP = `
To complete commands and options with Tab, add one of these lines to the file
that your shell reads at its start:

    source <(retrai completions bash)     ~/.bashrc
    source <(retrai completions zsh)      ~/.zshrc, after compinit
    retrai completions fish | source      ~/.config/fish/config.fish
${PLAIN_EXIT_CODES}`

/** `retrai completions SHELL`: what a shell needs to complete command lines. */
export const completionsCommand = (programWith: () => Promise<Command>): Command =>
  new Command('completions')
    .description('Print what a shell needs to complete commands and options.')
    .addArgument(new Argument('<shell>').choices(SHELLS))
    .addHelpText('after', HELP)
    .action(
      offline(async function* (shell: Shell) {
        const { commands } = await programWith()
        io().stdout.write(SCRIPTS[shell](commands.flatMap((command) => completionsOf(command, []))))
        return EXIT.done
      }),
    )

/** What may follow the words of a command: commands below it, options and fixed arguments. */
type Completion = { readonly words: string; readonly next: readonly string[] }

function completionsOf(command: Command, above: readonly string[]): Completion[] {
  const words = [...above, command.name()]
  const options = command.createHelp().visibleOptions(command)
  const named = options.flatMap(({ long }) => long ?? [])
  const choices = command.registeredArguments.flatMap(({ argChoices = [] }) => argChoices)
  const below = command.commands.map((each) => each.name())
  return [
    { words: words.join(' '), next: [...below, ...choices, ...named] },
    ...command.commands.flatMap((each) => completionsOf(each, words)),
  ]
}

const firstWords = (all: readonly Completion[]): string =>
  all.flatMap(({ words }) => (words.includes(' ') ? [] : words)).join(' ')

/** Finds the longest command that the line names. Where nothing is known, files are completed. */
const bash = (all: readonly Completion[]): string => `\
_retrai() {
  local line="\${COMP_WORDS[*]:1:COMP_CWORD-1}" words='${firstWords(all)}'
  case "$line " in
${all
  .toSorted((a, b) => b.words.length - a.words.length)
  .map(({ words, next }) => `    "${words} "*) words='${next.join(' ')}' ;;`)
  .join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _retrai retrai
`

const SCRIPTS: Readonly<Record<Shell, (all: readonly Completion[]) => string>> = {
  bash,
  zsh: (all) => `autoload -U bashcompinit && bashcompinit\n${bash(all)}`,
  fish: (all) =>
    [
      `complete -c retrai -n __fish_use_subcommand -a '${firstWords(all)}'`,
      ...all.flatMap(({ words, next }) => {
        const seen = words.split(' ').map((word) => `__fish_seen_subcommand_from ${word}`)
        const condition = `-n '${seen.join('; and ')}'`
        return next.map((word) =>
          word.startsWith('--')
            ? `complete -c retrai ${condition} -l ${word.slice(2)}`
            : `complete -c retrai ${condition} -a ${word}`,
        )
      }),
      '',
    ].join('\n'),
}
