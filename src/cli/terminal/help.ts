import type { Command } from 'commander'
import { exitWithOurs } from './exit-codes.ts'
import { wrap } from './print.ts'

/** Has a command, and those below it, write help and errors alike. @param line what a person types for it */
export function dress(command: Command, line: string): void {
  command.configureHelp({ subcommandTerm: (each) => each.name() }).configureOutput({
    writeOut: (text) => process.stdout.write(folded(text, process.stdout.columns ?? NARROW)),
    outputError: (text, write) => {
      const what = text
        .replace(/^error: /, '')
        .trimEnd()
        .replace('\n(', ' (')
      write(`retrai: ${what.replace(/[^.)]$/, '$&.')} "${line} --help" says how it is used.\n`)
    },
  })
  // A server that cannot start ends with 1, also for a wrong option.
  if (command.name() !== 'serve') command.exitOverride(exitWithOurs)
  for (const each of command.commands) dress(each, `${line} ${each.name()}`)
}

/** What commander takes for the width of a file. */
const NARROW = 80
/** Longer lines are hard to read. */
const WIDE = 105

/**
 * Help for a terminal of this width: lines are broken between words, below the text of the first one. They are written
 * for a wide terminal, so a full line and the one below its text are one sentence.
 */
export function folded(text: string, columns: number): string {
  const lines: { readonly lead: string; text: string }[] = []
  for (const line of text.split('\n')) {
    const [lead = ''] = /^ *(?:\S+(?: \S+)* {2,}(?=\S))?/.exec(line) ?? []
    const rest = line.slice(lead.length)
    const above = lines.at(-1)
    const [word = ''] = rest.split(' ', 1)
    const isFull =
      above !== undefined && above.lead.length + above.text.length + word.length >= NARROW
    if (isFull && word !== '' && lead === ' '.repeat(above.lead.length)) above.text += ` ${rest}`
    else lines.push({ lead, text: rest })
  }
  const width = Math.min(columns, WIDE)
  return lines
    .flatMap(({ lead, text }) =>
      wrap(text, width - lead.length).map(
        (part, at) => `${at === 0 ? lead : ' '.repeat(lead.length)}${part}`,
      ),
    )
    .join('\n')
}
