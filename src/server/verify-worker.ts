/** Main module of the thread that verifies the whole store of a server, at a low rate. */

import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { parentPort, workerData } from 'node:worker_threads'
import { err, type Result } from 'neverthrow'
import * as z from 'zod'
import { readKeptCheckpoints } from '../audit/checkpoints/kept-checkpoints.ts'
import { readPublishedKeys } from '../audit/proofs/keyring.ts'
import { knownKeys } from '../audit/proofs/public-keys.ts'
import { isOwnStream } from '../audit/verify/own-streams.ts'
import type { Finding } from '../audit/verify/report.ts'
import { verifyStore } from '../audit/verify/verify-store.ts'
import type { LogPages } from '../log/stream-pages.ts'
import { readProjected } from '../projections/read-projected.ts'
import { openReadableLog } from '../store/embedded/existing-log.ts'
import { foreignParts } from '../store/embedded/foreign-parts.ts'
import { readableArtifacts } from './open-artifacts.ts'
import type { ArtifactSettings } from './read-settings.ts'

/** The input of the thread. */
const Task = z.object({
  dataDir: z.string(),
  artifacts: z.custom<ArtifactSettings>((value) => typeof value === 'object'),
  /** It rests this many times as long as it has worked. */
  restTimes: z.number().nonnegative(),
})
export type Task = z.infer<typeof Task>

/** The only message of the thread. */
export type Verdict =
  | { readonly type: 'verified'; readonly records: number; readonly findings: readonly Finding[] }
  | { readonly type: 'failed'; readonly message: string }

/** Only what is found twice counts: redactions and runs continue while the log is read. */
async function verifyTwice(task: Task): Promise<Verdict> {
  const first = await verify(task)
  if (first.isErr()) return { type: 'failed', message: first.error }
  if (first.value.findings.length === 0) return { type: 'verified', ...first.value }
  const second = await verify(task)
  if (second.isErr()) return { type: 'failed', message: second.error }
  const before = new Set(first.value.findings.map((finding) => JSON.stringify(finding)))
  const findings = second.value.findings.filter(
    (finding) => finding.problem === 'unreachable' || before.has(JSON.stringify(finding)),
  )
  return { type: 'verified', records: second.value.records, findings }
}

type Verified = { readonly records: number; readonly findings: readonly Finding[] }

async function verify({ dataDir, artifacts, restTimes }: Task): Promise<Result<Verified, string>> {
  const keys = await readPublishedKeys(join(dataDir, 'keys'))
  if (keys.isErr()) return err(keys.error.message)
  // Read before the log, so that the log has everything in it.
  const projected = await readProjected(join(dataDir, 'read-model.sqlite'))
  const beside = await readKeptCheckpoints(dataDir)
  const file = join(dataDir, 'log.sqlite')
  const foreign = foreignParts(file, isOwnStream)
  if (foreign.isErr()) return err(foreign.error.message)
  const log = await openReadableLog(file)
  if (log.isErr()) return err(log.error.message)
  try {
    const source = readableArtifacts(artifacts, { dataDir, reader: log.value })
    if (source.isErr()) return err(source.error)
    const verified = await verifyStore({
      reader: log.value,
      pages: () => resting(log.value.pages(), restTimes),
      artifacts: source.value,
      keys: knownKeys(keys.value),
      projected,
      beside,
      foreign: foreign.value,
    })
    return verified.map(({ records, findings }) => ({ records, findings }))
  } finally {
    await log.value.close()
  }
}

/** The pages, with a pause after each. */
async function* resting(pages: LogPages, times: number): LogPages {
  let began = performance.now()
  for await (const page of pages) {
    yield page
    await delay((performance.now() - began) * times)
    began = performance.now()
  }
}

parentPort?.postMessage(await verifyTwice(Task.parse(workerData)))
