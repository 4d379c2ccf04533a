import { randomUUID } from 'node:crypto'
import { expect } from 'vitest'
import type { RunRecord } from '../../src/domain/records.ts'
import { readRecords, streamOf } from '../../src/log/run-log.ts'
import { createdRecord } from './run-records.ts'
import { CLAIM, iteration, RunWriter, type TestServer } from './server.ts'

type Headers = Readonly<Record<string, string>>

/**
 * Sends a request. A body that is no text is sent as JSON.
 * @param line the method and the path
 * @returns the status, the headers, the text, and what that is as JSON; `body` is null if it is no JSON
 */
export async function ask<T = Record<string, unknown>>(
  { url }: Pick<TestServer, 'url'>,
  line: string,
  body?: unknown,
  headers: Headers = {},
) {
  const [method = '', path] = line.split(' ')
  const type: Headers = body === undefined ? {} : { 'content-type': 'application/json' }
  const answer = await fetch(`${url}${path}`, {
    method,
    headers: { ...type, ...headers },
    body: body === undefined ? null : typeof body === 'string' ? body : JSON.stringify(body),
  })
  const text = await answer.text()
  const isJson = /^application\/(problem\+)?json/.test(answer.headers.get('content-type') ?? '')
  const read = (isJson && text !== '' ? JSON.parse(text) : null) as T
  return { status: answer.status, headers: answer.headers, text, body: read }
}

/** The `type` of a problem with this code. */
export const problem = (code: string) => ({ type: `urn:retrai:problem:${code}` })

/** All records of a run, as they are stored. */
export const recordsOf = async ({ store }: Pick<TestServer, 'store'>, runId: string) =>
  (await readRecords(store, runId, 0, 1000))._unsafeUnwrap()

/** A run that reaches its goal in the second iteration. @returns its id */
export function achievedRun(server: TestServer): Promise<string> {
  return server.createRun({}, CLAIM, ...iteration(false), ...iteration(true))
}

/** Stores an event at `seq` of a run that is not a record. */
export async function damage(
  { store }: Pick<TestServer, 'store'>,
  runId: string,
  seq: number,
): Promise<void> {
  const event = { id: randomUUID(), type: 'step_start', data: '{}', metadata: '{}' }
  const appended = await store.append(streamOf(runId), [event], { expectedRevision: seq - 1 })
  expect(appended.isOk()).toBe(true)
}

/** A change of the configuration of a run, about as large as the name of a model in it. */
export const changeOf = (run_id: string, model_name = 'm'): RunRecord => ({
  kind: 'run_config_changed',
  run_id,
  iteration: 0,
  ts: 1_770_000_000,
  payload: { changes: { model_name } },
})

/** Writes a run of so many records, each of at least `sizeOf` bytes and in an append of its own. @returns its id */
export async function bigRun(
  { store }: Pick<TestServer, 'store'>,
  records: number,
  sizeOf: (seq: number) => number,
): Promise<string> {
  const runId = randomUUID()
  const writer = new RunWriter(store, runId)
  await writer.append([createdRecord(runId)])
  for (let seq = 1; seq < records; seq += 1) {
    await writer.append([changeOf(runId, `${seq}`.padEnd(sizeOf(seq), 'ä'))])
  }
  return runId
}
