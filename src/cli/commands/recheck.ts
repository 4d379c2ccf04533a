import { mkdtemp, realpath } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Command } from 'commander'
import { linesOf, oneLine } from '../../domain/plain-text.ts'
import { removeFolder } from '../../lib/remove-folder.ts'
import { type Rechecked, recheckRun } from '../../server/recheck.ts'
import { openForReading } from '../data-folder.ts'
import { print, printJson } from '../terminal/print.ts'
import { EXIT, offline, type Steps } from '../terminal/steps.ts'
import { importInto } from './bundles.ts'
import { type AnchorOptions, withAnchors } from './verify.ts'

const HELP = `
The files of the run come from the export alone, so make it with --files. Commands run isolated, without a network,
with the programs of this machine. Nothing is left behind.

Exit codes: 0 the same verdict, 1 another one, 3 it cannot be checked, and what is lacking.`

type Options = AnchorOptions & { readonly json?: boolean }

/** `retrai recheck FILE`: makes the checks of an exported run again, on this machine. */
export const recheckCommand = (): Command =>
  withAnchors(new Command('recheck'))
    .description('Check the goal of an exported run again, on this machine.')
    .argument('<file>', 'an export made with --files')
    .option('--json', 'print the result as JSON')
    .addHelpText('after', HELP)
    .action(offline(recheck))

async function* recheck(file: string, options: Options): Steps {
  await using opened = new AsyncDisposableStack()
  // Through no link, because a project that leads through one is named by where it is.
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'retrai-recheck-')))
  opened.defer(() => removeFolder(folder))
  const dataDir = join(folder, 'data')
  const { runId } = yield* importInto(dataDir, file, options)
  const log = yield* openForReading(dataDir)
  opened.defer(log.close)
  const rechecked = yield* await recheckRun(runId, { ...log, folder })
  if (options.json === true) await printJson(rechecked, 2)
  else for (const line of reportOf(rechecked)) await print(line)
  return exitOf(rechecked)
}

function exitOf({ compared, lacking }: Rechecked): number {
  if (lacking.length > 0 || compared.some(({ here }) => here === 'cannot_check'))
    return EXIT.notDone
  return compared.every(({ here, recorded }) => here === recorded) ? EXIT.done : EXIT.failed
}

const NAMES = { original_checks: 'check with the files of the start', accept: 'hidden check' }
const MOST_LISTED = 20

const programLine = ({ name, recorded, here }: Rechecked['programs'][number]): string =>
  recorded === here
    ? `${name} ${here}`
    : `${name} ${here ?? 'none'} (recorded: ${recorded ?? 'none'})`

function reportOf({ run_id, compared, programs, lacking, isolation }: Rechecked): string[] {
  const listed = lacking.slice(0, MOST_LISTED).join(', ')
  return linesOf(
    `Run ${run_id}, checked again here. ${isolation}`,
    compared.map(({ check, recorded, here, reason }) => {
      const same = here === recorded ? 'the same as' : 'NOT the same as'
      return oneLine(`${NAMES[check]}: ${here}, ${same} recorded (${recorded}). ${reason}`)
    }),
    oneLine(`Programs here: ${programs.map(programLine).join(', ')}`),
    lacking.length > 0 &&
      oneLine(
        `Not in the export, so nothing is proved: ${listed}. Export the run with --files; what git ignores, secrets and large files are in none.`,
      ),
  )
}
