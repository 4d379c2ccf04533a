import { Command } from 'commander'
import { err, ok, type Result } from 'neverthrow'
import { guardSecrets } from '../../log/masking.ts'
import { examine } from '../../server/doctor/examine.ts'
import type { Finding } from '../../server/doctor/finding.ts'
import { readSettings } from '../../server/read-settings.ts'
import { secretsOf } from '../../server/settings.ts'
import { endingWith } from '../connection.ts'
import { DATA_DIR } from '../terminal/option-values.ts'
import { type Line, oneLine } from '../terminal/plain-text.ts'
import { print, printJson } from '../terminal/print.ts'

const HELP = `
Looks at what a server with the same flags and variables would need: how commands are isolated and limited,
the programs of goals, models and keys, the store, disk space and the data folder. It changes nothing, and
needs no server.

Exit codes:
  0    nothing fails; a line may warn, or note what only some projects need
  1    something fails: the line below it says how to fix it
  3    the settings are not valid; stderr says which`

/** What comes before a finding: its verdict, or blanks. */
const INDENT = 6
const EXIT_CODE = { good: 0, failing: 1 } as const

type Options = { readonly dataDir?: string; readonly store?: string; readonly json?: boolean }

/** `retrai doctor`: what a server would lack on this machine, and how to fix it. */
export function doctorCommand(): Command {
  return new Command('doctor')
    .description('Check this machine for what a server needs, and say how to fix what it lacks.')
    .option(...DATA_DIR)
    .option('--store <url>', 'esdb://… of an EventStoreDB (default: as for serve)')
    .option('--json', 'print the findings as JSON')
    .addHelpText('after', HELP)
    .action((options: Options) => endingWith(() => run(options)))
}

async function run({ json = false, ...flags }: Options): Promise<Result<number, string>> {
  const settings = readSettings(flags, process.env)
  if (settings.isErr()) return err(settings.error)
  guardSecrets(secretsOf(settings.value))
  const findings = await examine(settings.value)
  const holds = findings.every(({ verdict }) => verdict !== 'fail')
  if (json) await printJson({ ok: holds, findings })
  else for (const line of findings.flatMap(linesOf)) await print(line)
  return ok(holds ? EXIT_CODE.good : EXIT_CODE.failing)
}

function linesOf({ name, verdict, message, fix }: Finding): Line[] {
  const head = verdict.padEnd(INDENT)
  const isBad = verdict === 'warn' || verdict === 'fail'
  // Each mistake in a file is on a line of its own.
  const [first = '', ...further] = message.split('\n')
  const line: Line = [
    isBad ? { text: head, style: 'bold' } : { text: head, style: 'dim' },
    oneLine(`${name}: ${first}`),
  ]
  const below = fix === null ? further : [...further, fix]
  return [line, ...below.map((text) => `${' '.repeat(INDENT)}${oneLine(text)}`)]
}
