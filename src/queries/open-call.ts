import { err, ok, type Result } from 'neverthrow'
import type { OpenCall, RunState } from '../domain/state.ts'
import { streamOf } from '../log/run-log.ts'
import { commandProblem } from '../http/problems/command-problem.ts'
import type { AppDeps } from '../http/deps.ts'
import type { Problem } from '../http/problems/problem.ts'

type SeqAndCall = { readonly seq: number; readonly call: OpenCall }

/** How many records are looked through at once for the intent of a call under way. */
const LOOK_BACK = 8

/** The call that was under way, with the seq of its record: few others can stand behind that. */
export async function openCall(
  { runId, phase, seq }: RunState,
  { store }: Pick<AppDeps, 'store'>,
): Promise<Result<SeqAndCall | null, Problem>> {
  const call = phase.type === 'acting' ? phase.open : null
  if (call === null) return ok(null)
  for (let from = seq; from >= 0; from -= LOOK_BACK) {
    const options = { from, direction: 'backward', limit: LOOK_BACK } as const
    const page = await store.readStream(streamOf(runId), options)
    if (page.isErr()) return err(commandProblem(page.error))
    const found = page.value.find(({ type }) => type === 'tool_call')
    if (found !== undefined) return ok({ seq: found.revision, call })
  }
  return ok(null)
}
