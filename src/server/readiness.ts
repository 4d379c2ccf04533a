import type { Resources } from '../agent/resources.ts'
import type { Projector } from '../projections/projector.ts'
import type { SqliteReadModel } from '../projections/sqlite-read-model.ts'
import type { EventStore } from '../store/event-store.ts'
import type { Integrity } from './integrity.ts'

/** Whoever asks for readiness is told within this time, milliseconds. */
const PING_WITHIN_MS = 2_000

/**
 * Whether the store answers and the projections have caught up, and what is wrong where not. What is stored and
 * does not hold is told of as well, but served.
 */
export async function readiness(
  store: EventStore,
  readModel: SqliteReadModel,
  projector: Projector,
  {
    integrity,
    resources,
  }: {
    readonly integrity: Pick<Integrity, 'detail'>
    readonly resources: Pick<Resources, 'problem'>
  },
) {
  const storeProblem = await pingProblem(store)
  const behind = 'The read model is still being brought up to date with the log.'
  const projectionProblem = projector.problem() ?? (readModel.caughtUp ? null : behind)
  const shortage = await resources.problem()
  return {
    ready: storeProblem === null && projectionProblem === null && shortage === null,
    checks: {
      store: check(storeProblem),
      projections: check(projectionProblem),
      integrity: check(integrity.detail()),
      resources: check(shortage),
    },
  }
}

const check = (problem: string | null) =>
  problem === null ? { ok: true } : { ok: false, detail: problem }

/** Null where the store answers now. */
async function pingProblem(store: EventStore): Promise<string | null> {
  const { promise: silence, resolve } = Promise.withResolvers<string>()
  const text = `The store does not answer within ${PING_WITHIN_MS / 1000} seconds.`
  const timer = setTimeout(resolve, PING_WITHIN_MS, text)
  const answer = store.ping().match(
    () => null,
    ({ message }) => message,
  )
  return Promise.race([answer, silence]).finally(() => clearTimeout(timer))
}
