import { type Command, Option } from 'commander'
import { err, type ResultAsync } from 'neverthrow'
import type { ApplyRun } from '../../api/run-requests.ts'
import type { CarriedFiles } from '../../client/index.ts'
import { counted } from '../../lib/text.ts'
import { connected } from '../connection.ts'
import { agrees, atTerminal } from '../terminal/ask.ts'
import { given, JSON_LINES, type JsonOption, seq } from '../terminal/option-values.ts'
import { oneLine } from '../terminal/plain-text.ts'
import { print, printJson, say } from '../terminal/print.ts'
import type { Steps } from '../terminal/steps.ts'
import { decision, type Why } from './steer.ts'

type Options = Why & JsonOption & { readonly dryRun?: boolean }

const carrying = (name: string, description: string): Command =>
  decision(name, description)
    .option('--dry-run', 'only show what would be written, and what is in conflict')
    .option(...JSON_LINES)

/** `retrai rollback RUN`: the files of the project as they were at an earlier snapshot. */
export const rollbackCommand = (): Command =>
  carrying('rollback', 'Make the files of the project those of an earlier snapshot of a run.')
    .option('--to <seq>', 'as of this record (default: as the run found them)', seq, 0)
    .action(
      connected((connection, run: string, { to, ...how }: Options & { readonly to: number }) =>
        carry(connection, how, (why) => connection.client.runs.rollback(run, { to, ...why })),
      ),
    )

/** `retrai apply RUN`: what a run did in its copy. */
export const applyCommand = (): Command =>
  carrying('apply', 'Carry what a run did in its copy over to the project.')
    .addOption(
      new Option('--as <what>', 'onto the files, as a patch on the standard output, or as a branch')
        .choices(['files', 'patch', 'branch'])
        .default('files'),
    )
    .action(
      connected((connection, run: string, { as, ...how }: Options & Pick<ApplyRun, 'as'>) =>
        carry(connection, how, (why) => connection.client.runs.apply(run, { as, ...why })),
      ),
    )

/** `retrai discard RUN`: removes the copy of a run that has ended. */
export const discardCommand = (): Command =>
  decision('discard', 'Remove the copy in which a run has worked.').action(
    connected(async function* ({ client, explain }, run: string, { reason }: Why): Steps {
      const { run_id } = yield* client.runs.discard(run, { reason }).mapErr(explain)
      await print(`${run_id}: the copy is removed`)
    }),
  )

/** Shows what will be written, asks a person at the terminal, and has it done. */
async function* carry<E>(
  { explain }: { explain: (error: E) => string },
  { dryRun = false, json = false, reason }: Options,
  send: (why: Why & { readonly dry_run: boolean }) => ResultAsync<CarriedFiles, E>,
): Steps {
  const why = given({ reason })
  if (dryRun || (atTerminal() && !json)) {
    const look = yield* send({ ...why, dry_run: true }).mapErr(explain)
    if (json) return printJson(look)
    for (const { action, path, conflict } of look.files) {
      const but = conflict === undefined ? '' : `  in conflict: ${conflict}`
      await print(`${action.padEnd(7)} ${oneLine(path)}${but}`)
    }
    for (const path of look.not_carried) say(`not carried: ${oneLine(path)}`)
    if (dryRun) return say(`Nothing was written. ${counted(look.files.length, 'file')} would be.`)
    if (!(await agrees('Do it?'))) return yield* err('Nothing was done.')
  }
  const done = yield* send({ ...why, dry_run: false }).mapErr(explain)
  if (json) return printJson(done)
  if (done.patch !== undefined) return print(done.patch.trimEnd())
  await print(done.branch ?? `${counted(done.files.length, 'file')} written, record ${done.seq}`)
}
