import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import { join } from 'node:path'
import type { Effects } from '../agent/run/effects.ts'
import { Supervisor } from '../agent/supervisor/supervisor.ts'
import type { Checkpoint } from '../api/audit.ts'
import { AccessRecorder } from '../audit/access-recorder.ts'
import { Carrier } from '../carry/carrier.ts'
import { Copies } from '../carry/copies.ts'
import { FolderLocks } from '../carry/folder-locks.ts'
import { createCatalogue } from '../models/catalogue.ts'
import { SearchIndex } from '../projections/search/search-index.ts'
import { Remover } from '../retention/remover.ts'
import { Webhooks } from '../webhooks/webhooks.ts'
import { createApp } from './create-app.ts'
import { createEffects, type Opened } from './create-effects.ts'
import { openCleanStops } from './data-folder.ts'
import { startCheckpointing, startIntegrity } from './integrity.ts'
import { type History, now, type Parts } from './open-history.ts'
import { Resources } from './readiness.ts'
import { createRedactions } from './redactions.ts'
import { reportDefaultModel } from './start-notices.ts'
import { startWitnesses } from './witnessing.ts'

/** Makes the agent, the audit and the HTTP side. None of them listens or works on a run yet. */
export async function joinRooms(parts: Parts, made: Opened) {
  const { settings, log } = parts
  const { models, keyring, opened } = made
  const resources = new Resources({ retryMs: [100, 5_000], log })
  const { effects, planRun } = createEffects(parts, made, resources)
  const locks = new FolderLocks()
  const { carrier, tidyCopies } = createCarrier(parts, { ...made, effects, locks })
  const { ledger, redactor, sign } = made
  const search = new SearchIndex({
    ...{ ...parts, file: join(settings.RETRAI_DATA_DIR, 'search.sqlite') },
    asOfNow: (event) => redactor.apply(event),
  })
  opened.defer(() => search.stop())
  const redactions = createRedactions({ ...parts, ledger, redactor, search, sign, now })
  const remover = createRemover(parts, made, async (runIds) => {
    await search.removeRuns(runIds)
    await redactions.forgetRuns(runIds)
  })
  const claimant = `${made.serverId}/${randomUUID()}`
  const stops = join(settings.RETRAI_DATA_DIR, 'clean-stops')
  const { stopped, note } = openCleanStops(stops)
  const isShared = settings.EVENTSTORE_URL !== undefined
  const supervisor = new Supervisor({
    ...{ store: parts.store, effects, stopped, locks, now, log, newId: randomUUID },
    process: { server: made.serverId, claimant, pid: process.pid, host: hostname() },
    pool: isShared ? made.pool : null,
    leaseMs: isShared ? settings.RETRAI_LEASE_SECONDS * 1000 : null,
    retryMs: [100, 5_000],
    maxRunsAtWork: settings.RETRAI_MAX_RUNS_AT_WORK,
  })
  redactions.onRedacted((runId) => supervisor.forget(runId))
  const accessLog =
    settings.RETRAI_ACCESS_LOG === 'off'
      ? null
      : new AccessRecorder({ store: parts.store, sign, clock: now, log })
  opened.defer(() => accessLog?.stop())
  const integrity = startIntegrity({ ...parts, store: ledger, keyring }, made.verifyAfterMs)
  opened.defer(() => integrity.stop())
  const catalogue = createCatalogue(models)
  reportDefaultModel(catalogue, log)
  const witnessing = await startWitnesses(parts, made, made)
  const { ownLog, witnesses, timeStamps } = witnessing
  opened.defer(() => Promise.all([witnesses?.stop(), timeStamps?.stop()]).then(() => {}))
  const webhooks = new Webhooks({
    ...{ store: parts.store, sign, serverId: made.serverId, clock: now, log },
    dataDir: settings.RETRAI_DATA_DIR,
    hosts: new Set(settings.RETRAI_WEBHOOK_HOSTS),
    isGone: made.retention.isGone,
    laterTags: (runId) => made.tags.read().map((tagged) => tagged.get(runId)?.tags),
  })
  opened.defer(() => webhooks.close())
  const app = await createApp(parts, {
    ...{ ...made, effects, planRun, carrier, resources, catalogue, redactions, accessLog },
    ...{ integrity, ...witnessing, supervisor, search, remover, webhooks },
  })
  search.start()
  const written = (checkpoint: Checkpoint): Promise<void> => {
    witnesses?.notice()
    timeStamps?.notice()
    return integrity.keep(checkpoint)
  }
  const { followed } = ownLog
  const removed = async () => {
    // What is known is enough: if it cannot be read now, no checkpoint is written either.
    ;(await made.retention.read()).unwrapOr(undefined)
    return made.retention.index.removals.values()
  }
  const sources = { keyring, followed, removed }
  const checkpoints = startCheckpointing(parts, sources, written, made.published)
  opened.defer(async () => {
    await Promise.all([supervisor.stop(), app.close(), checkpoints.stop()])
  })
  const noteStop = (): void => {
    const noted = note(claimant)
    if (noted.isErr()) log.warn({ file: stops, error: noted.error }, 'the stop cannot be recorded')
  }
  return { app, supervisor, redactions, remover, catalogue, integrity, tidyCopies, noteStop }
}

/** What removes the runs that the ledger of retention names, once it is started. */
export const createRemover = (
  { artifacts, readModel }: Pick<Parts, 'artifacts' | 'readModel'>,
  { retention, ledger: store, redactor }: Pick<History, 'retention' | 'ledger' | 'redactor'>,
  forgetRuns: (runIds: readonly string[]) => Promise<void>,
): Remover =>
  new Remover({
    ...{ retention, store, artifacts },
    packsOf: (sha256) => redactor.index.packsOf(sha256),
    forget: (runIds) => {
      readModel.remove(runIds)
      return forgetRuns(runIds)
    },
  })

/** What carries files between snapshots and folders, and what removes copies that nobody needs. */
function createCarrier(
  { settings, artifacts, store, readModel, log }: Parts,
  { effects, locks, redactor, opened }: Opened & { effects: Effects; locks: FolderLocks },
) {
  const stateOf = (runId: string) => readModel.get(runId)?.state ?? null
  const begunFrom = (origin: string) =>
    (readModel.list({ origin, limit: 1000 })?.runs ?? []).flatMap(
      ({ run_id }) => stateOf(run_id) ?? [],
    )
  const { RETRAI_DATA_DIR: dataDir } = settings
  const copies = new Copies({ dataDir, stateOf, begunFrom, now, log })
  const carrier = new Carrier({
    ...{ store, artifacts, locks, copies, now, openWorkspace: effects.openWorkspace },
    packsOf: (sha256) => redactor.index.packsOf(sha256),
  })
  const stop = new AbortController()
  opened.defer(() => stop.abort())
  const discard = (runId: string, reason: string) =>
    carrier.discard(runId, { reason, seen: null }, { commandId: randomUUID() })
  const keepsAll = (runId: string) => carrier.keepsAll(runId)
  return { carrier, tidyCopies: () => copies.tidy({ keepsAll, discard }, stop.signal) }
}
