import { err, ok, safeTry } from 'neverthrow'
import type { z } from 'zod'
import type { LiveReport } from '../../audit/verify/live-report.ts'
import { verifyServer } from '../../audit/verify/verify-server.ts'
import { verifyStore } from '../../audit/verify/verify-store.ts'
import type { Demands } from '../../audit/verify/witness-check.ts'
import { keysInLog } from '../../checkpoints/checkpoint-stream.ts'
import { knownKeys } from '../../checkpoints/public-keys.ts'
import type { RequestError } from '../../client/index.ts'
import { logPages } from '../../log/stream-pages.ts'
import {
  RedactionIndex,
  redactionIndexOf,
  withRedactions,
} from '../../redaction/redaction-index.ts'
import { readArtifactSettings } from '../../server/read-settings.ts'
import { verifyFolder } from '../../server/verify-folder.ts'
import { isConnectionString } from '../../store/eventstoredb/connection-string.ts'
import { connect, download, newestRuns } from '../connection.ts'
import { artifactsAround, dataDirOf, openEventStoreDb } from '../data-folder.ts'
import { io } from '../terminal/io.ts'
import { seconds, withProgress } from '../terminal/progress.ts'
import type { Steps } from '../terminal/steps.ts'

type Target = {
  readonly server?: string
  readonly dataDir?: string
  readonly store?: string
}

/** Verifies all runs and ledgers of a server, a data folder or an EventStoreDB. */
export async function* verifyLive(
  { server, dataDir: given, store }: Target,
  demands: Demands,
): Steps<LiveReport> {
  const began = performance.now()
  const state = () => `Verifying … ${seconds(began)}`
  if (given !== undefined) {
    const dataDir = yield* dataDirOf(given)
    const artifacts = yield* readArtifactSettings(io().env)
    return yield* await withProgress(state, verifyFolder({ dataDir, artifacts, ...demands }))
  }
  if (store !== undefined) return yield* verifyEventStoreDb(store, demands)
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
        return ok(runs.map(({ run_id }) => run_id))
      }).mapErr(explain),
  }
  return yield* await withProgress(state, verifyServer(reader, demands))
}

/** Verifies all runs of an EventStoreDB, with the keys that its servers have published in it. */
async function* verifyEventStoreDb(url: string, demands: Demands): Steps<LiveReport> {
  if (!isConnectionString(url)) yield* err('--store must be esdb://…, as for serve.')
  const reader = yield* await openEventStoreDb(url)
  try {
    const artifacts = yield* artifactsAround({ dataDir: null, reader })
    const inLog = yield* (await keysInLog(reader)).mapErr(({ message }) => message)
    const keys = new Map([...knownKeys(inLog), ...(demands.anchors?.keys ?? [])])
    // If the redactions cannot be read, the verification finds out why.
    const index = (await redactionIndexOf(reader)).unwrapOr(new RedactionIndex())
    const hiding = withRedactions(reader, index)
    const whole = { reader: hiding, pages: () => logPages(hiding), artifacts }
    return yield* await verifyStore({ ...whole, keys, projected: null }, demands)
  } finally {
    await reader.close()
  }
}
