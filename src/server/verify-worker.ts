/** Main module of the thread that verifies the whole store of a server, at a low rate. */

import { setTimeout as delay } from 'node:timers/promises'
import { parentPort, workerData } from 'node:worker_threads'
import type { LogPages } from '../log/stream-pages.ts'
import type { Task, Verdict } from './integrity.ts'
import { verifyFolder } from './verify-folder.ts'

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

const verify = (task: Task) => verifyFolder({ ...task, paced: resting })

/** It rests this many times as long as it has worked, so it uses a fifth of a processor at most. */
const REST_TIMES = 4

/** The pages, with a pause after each. */
async function* resting(pages: LogPages): LogPages {
  let began = performance.now()
  for await (const page of pages) {
    yield page
    await delay((performance.now() - began) * REST_TIMES)
    began = performance.now()
  }
}

parentPort?.postMessage(await verifyTwice(workerData as Task))
