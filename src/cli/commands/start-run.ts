import type { RunRequest } from '../../client/index.ts'
import type { Connection } from '../connection.ts'
import type { JsonOption } from '../terminal/option-values.ts'
import { print, printJson, say } from '../terminal/print.ts'
import { EXIT, type Steps } from '../terminal/steps.ts'
import { statOf } from './diff.ts'
import { follow } from './watch.ts'

/** Starts a run and watches it, or only prints its id. */
export async function* startRun(
  connection: Connection,
  request: RunRequest,
  { detach = false, json = false }: JsonOption & { readonly detach?: boolean },
): Steps {
  const { client, explain, hint } = connection
  const created = yield* client.runs.create(request).mapErr(explain)
  const { run_id } = created
  if (!detach) {
    const ask = request.hitl_enabled === true && !json
    const code = yield* follow(connection, run_id, { json, after: -1, ask })
    if (json || code === EXIT.interrupted) return code
    await printStat(client, run_id)
    const isCopy = request.workspace === 'copy' || request.fork !== undefined
    if (isCopy) say(`It worked in a copy: ${hint('apply', run_id)}, or ${hint('discard', run_id)}`)
    return code
  }
  await (json ? printJson(created) : print(run_id))
  say(`The run has started. To watch it: ${hint('watch', run_id)}`)
}

/** What the run did to files; nothing if that is not known. */
async function printStat(client: Connection['client'], runId: string): Promise<void> {
  const changes = await client.history.changes(runId)
  for (const line of changes.map(statOf).unwrapOr([])) await print(line)
}
