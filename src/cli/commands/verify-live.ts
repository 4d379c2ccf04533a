import { err, ok, type Result, safeTry } from 'neverthrow'
import type { z } from 'zod'
import type { Checkpoint } from '../../api/audit.ts'
import { keysInLog } from '../../audit/checkpoints/checkpoint-stream.ts'
import { knownKeys, type TrustAnchors } from '../../audit/public-keys.ts'
import type { LiveReport } from '../../audit/verify/live-report.ts'
import type { TrustedWitnesses } from '../../audit/verify/log-check.ts'
import { verifyServer } from '../../audit/verify/verify-server.ts'
import { verifyStore } from '../../audit/verify/verify-store.ts'
import { checkWitnesses, shownByLog, shownByServer } from '../../audit/verify/witness-check.ts'
import type { RequestError } from '../../client/index.ts'
import { logPages } from '../../log/stream-pages.ts'
import { runDetails } from '../../queries/run-details.ts'
import {
  RedactionIndex,
  redactionIndexOf,
  withRedactions,
} from '../../redaction/redaction-index.ts'
import { readArtifactSettings } from '../../server/read-settings.ts'
import { verifyFolder } from '../../server/verify-folder.ts'
import { isConnectionString } from '../../store/eventstoredb/connection-string.ts'
import { connect, download, newestRuns } from '../connection.ts'
import { artifactsAround, dataDirOf, openEventStoreDb, openForReading } from '../data-folder.ts'
import { io } from '../terminal/io.ts'
import { seconds, withProgress } from '../terminal/progress.ts'
import type { Steps } from '../terminal/steps.ts'

type Target = {
  readonly server?: string
  readonly dataDir?: string
  readonly store?: string
}

/** What the log must still have: a checkpoint that the reader has kept, or what witnesses have seen. At most one is there. */
type Wanted = { readonly kept: Checkpoint | null; readonly witnesses: TrustedWitnesses | null }

/** Where all runs and ledgers are verified. */
type Place = {
  /** The checkpoints there, and which witnesses have signed that they have seen them. */
  shown(witnesses: TrustedWitnesses): ReturnType<typeof shownByLog>
  verify(kept: Checkpoint | null): Promise<Result<LiveReport, string>>
}

/** Verifies all runs and ledgers of a server, a data folder or an EventStoreDB. */
export async function* verifyLive(
  { server, dataDir, store }: Target,
  { kept, witnesses }: Wanted,
  anchors: TrustAnchors,
): Steps<LiveReport> {
  const began = performance.now()
  await using opened = new AsyncDisposableStack()
  const place = yield* dataDir !== undefined
    ? inFolder(dataDir, anchors, opened)
    : store !== undefined
      ? inEventStoreDb(store, anchors, opened)
      : onServer(server, anchors)
  const seen = witnesses && checkWitnesses(yield* await place.shown(witnesses), witnesses)
  const state = () => `Verifying … ${seconds(began)}`
  const report = yield* await withProgress(state, place.verify(seen?.kept ?? kept))
  if (seen === null) return report
  const findings = [...report.findings, ...seen.findings]
  return { ...report, witnessed: seen.seen, holds: findings.length === 0, findings }
}

async function* inFolder(
  given: string,
  anchors: TrustAnchors,
  opened: AsyncDisposableStack,
): Steps<Place> {
  const dataDir = yield* dataDirOf(given)
  const artifacts = yield* readArtifactSettings(io().env)
  const log = yield* openForReading(dataDir)
  opened.defer(log.close)
  return {
    shown: () => shownByLog(log.reader),
    verify: (kept) => verifyFolder({ dataDir, artifacts, anchors, kept }),
  }
}

async function* onServer(server: string | undefined, anchors: TrustAnchors): Steps<Place> {
  const connection = yield* connect({ server, isVerifying: true })
  const { rest, explain } = connection
  const failureOf = (error: RequestError) => ({
    code: error.type === 'refused' ? error.code : null,
    message: explain(error),
  })
  const reader = {
    json: async <T>(path: string, schema: z.ZodType<T>) => rest.get(path, schema).mapErr(failureOf),
    stream: async (path: string) => download(connection, path).mapErr(failureOf),
    runs: async () =>
      safeTry(async function* () {
        const { runs } = yield* newestRuns(connection)
        return ok(new Map(runs.map((run) => [run.run_id, run])))
      }),
    detailsOf: runDetails,
  }
  return {
    shown: (witnesses) => shownByServer(reader, witnesses),
    verify: (kept) => verifyServer(reader, kept, anchors),
  }
}

/** With the keys that its servers have published in it. */
async function* inEventStoreDb(
  url: string,
  anchors: TrustAnchors,
  opened: AsyncDisposableStack,
): Steps<Place> {
  if (!isConnectionString(url)) yield* err('--store must be esdb://…, as for serve.')
  const reader = yield* await openEventStoreDb(url)
  opened.defer(() => reader.close())
  const artifacts = yield* artifactsAround({ dataDir: null, reader })
  const inLog = yield* (await keysInLog(reader)).mapErr(({ message }) => message)
  const keys = new Map([...knownKeys({ keys: inLog }), ...anchors.keys])
  // If the redactions cannot be read, the verification finds out why.
  const index = (await redactionIndexOf(reader)).unwrapOr(new RedactionIndex())
  const hiding = withRedactions(reader, index)
  const whole = { reader: hiding, pages: () => logPages(hiding), artifacts }
  return {
    shown: () => shownByLog(hiding),
    verify: (kept) => verifyStore({ ...whole, keys, projected: null }, kept, anchors),
  }
}
