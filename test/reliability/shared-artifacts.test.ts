import { mkdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import * as z from 'zod'
import type { ServerProcess } from '../../examples/demo/server.ts'
import { artifactStream } from '../../src/log/artifact-index.ts'
import { cleanEnv, retrai } from '../cli/support.ts'
import { ACCESS_KEY, BUCKET, S3StandIn, SECRET_KEY } from '../support/s3-stand-in.ts'
import {
  get,
  openStandInStore,
  post,
  Site,
  start,
  until,
  untilReady,
  untilStatus,
} from './support.ts'

let site: Site
beforeEach(async () => {
  site = await Site.open()
})
afterEach(() => site[Symbol.asyncDispose]())

const SECRET = 'orchid-in-the-long-output'
const bash = (command: string) => ({ calls: [{ tool: 'bash_exec', args: { command } }] })
const Result = z.object({
  kind: z.literal('tool_result'),
  seq: z.int(),
  payload: z.object({ sha256: z.string() }),
})

/** A run whose first output is too long for a record. */
async function runWithArtifact(server: ServerProcess) {
  const runId = await start(server, await site.project(), { max_iterations: 5 })
  await untilStatus(server, runId, 'achieved')
  const events = z.array(z.unknown()).parse((await get(server, `/api/runs/${runId}/events`)).body)
  const [result] = events.flatMap((event) => Result.safeParse(event).data ?? [])
  return { runId, seq: result?.seq ?? -1, sha256: result?.payload.sha256 ?? '' }
}

const artifactOf = (server: ServerProcess, runId: string, sha256: string) =>
  fetch(`${server.url}/api/runs/${runId}/artifacts/${sha256}`)

const model = () => site.model([bash(`seq 1 9000; echo ${SECRET}; seq 1 9000`), bash('touch done')])

test('an artifact of one server is served, verified, copied and redacted by every other', async () => {
  const standIn = await site.standIn()
  const options = { model: (await model()).url, args: ['--store', standIn.connectionString] }
  const [one, other] = [await site.serve('one', options), await site.serve('other', options)]
  const { runId, seq, sha256 } = await runWithArtifact(one)
  await untilStatus(other, runId, 'achieved')

  expect(await (await artifactOf(other, runId, sha256)).text()).toContain(SECRET)
  const verified = await retrai(['verify', '--server', other.url])
  expect(verified).toMatchObject({ code: 0, stdout: expect.stringContaining('The store holds') })
  const copied = await retrai([
    'copy',
    '--from',
    standIn.connectionString,
    '--to',
    site.path('copy'),
  ])
  expect(copied.code, copied.stderr).toBe(0)
  const ofCopy = await retrai(['verify', '--data-dir', site.path('copy')])
  expect(ofCopy).toMatchObject({ code: 0, stdout: expect.stringMatching(/hold, and 1 artifact/) })

  const body = { seq, pointer: '/output', reason: 'a password', secret: null }
  expect((await post(other, `/api/runs/${runId}/redact`, body)).status).toBe(200)
  for (const server of [one, other]) {
    await until(
      () => artifactOf(server, runId, sha256),
      ({ status }) => status === 404,
    )
  }
  const again = await retrai(['verify', '--server', one.url])
  expect(again).toMatchObject({ code: 0, stdout: expect.stringContaining('The store holds') })
  const clean = await retrai([
    'copy',
    '--from',
    standIn.connectionString,
    '--to',
    site.path('clean'),
  ])
  expect(clean.code, clean.stderr).toBe(0)
  expect((await retrai(['verify', '--data-dir', site.path('clean')])).code).toBe(0)
})

test('an artifact that cannot be read now is not reported as missing', async () => {
  const standIn = await site.standIn()
  const args = ['--store', `${standIn.connectionString}&defaultDeadline=1000`]
  const server = await site.serve('data', { model: (await model()).url, args })
  const { runId, sha256 } = await runWithArtifact(server)
  await rm(site.path('data', 'artifacts'), { recursive: true })
  expect((await artifactOf(server, runId, sha256)).status).toBe(200)
  await standIn.faults.down()
  const answer = await artifactOf(server, runId, sha256)
  expect([answer.status, await answer.text()]).toEqual([
    503,
    expect.stringContaining('store_unavailable'),
  ])
  await standIn.faults.up()
})

test('artifacts that an earlier version kept in its data folder become readable through every server', async () => {
  const standIn = await site.standIn()
  const options = { model: (await model()).url, args: ['--store', standIn.connectionString] }
  const one = await site.serve('one', options)
  const { runId, sha256 } = await runWithArtifact(one)
  await one.stop()
  // As an earlier version has left it: the log does not hold it.
  const store = await openStandInStore(standIn)
  expect((await store.deleteStream?.(artifactStream(sha256)))?.isOk()).toBe(true)
  await store.close()
  standIn.log.restore(standIn.log.all.filter(({ stream }) => stream !== artifactStream(sha256)))

  const other = await site.serve('other', options)
  await untilReady(other)
  expect((await artifactOf(other, runId, sha256)).status).toBe(404)
  await site.serve('one', options)
  await until(
    () => artifactOf(other, runId, sha256),
    ({ status }) => status === 200,
  )
})

test('copy takes the artifacts of a data folder into the log of an EventStoreDB', async () => {
  const { url } = await model()
  const embedded = await site.serve('data', { model: url })
  const { runId, sha256 } = await runWithArtifact(embedded)
  await embedded.stop()
  const standIn = await site.standIn()
  const copied = await retrai([
    'copy',
    '--from',
    site.path('data'),
    '--to',
    standIn.connectionString,
  ])
  expect(copied).toMatchObject({ code: 0, stdout: expect.stringContaining('; 1 artifact\n') })
  const server = await site.serve('fresh', {
    model: url,
    args: ['--store', standIn.connectionString],
  })
  await untilReady(server)
  expect(await (await artifactOf(server, runId, sha256)).text()).toContain(SECRET)
})

test('servers may share a folder for artifacts instead', async () => {
  const standIn = await site.standIn()
  const folder = site.path('shared')
  await mkdir(folder)
  const options = {
    model: (await model()).url,
    args: ['--store', standIn.connectionString],
    env: { RETRAI_ARTIFACTS: folder },
  }
  const [one, other] = [await site.serve('one', options), await site.serve('other', options)]
  const { runId, sha256 } = await runWithArtifact(one)
  await untilStatus(other, runId, 'achieved')
  expect((await artifactOf(other, runId, sha256)).status).toBe(200)
  await rename(join(folder, sha256.slice(0, 2)), join(folder, 'zz'))
  expect((await artifactOf(other, runId, sha256)).status).toBe(404)
})

test('a bucket serves every server, and an artifact that it cannot deliver now is not reported as missing', async () => {
  const service = await S3StandIn.start()
  site.onClose(() => service.stop())
  const standIn = await site.standIn()
  const options = {
    model: (await model()).url,
    args: ['--store', standIn.connectionString],
    env: {
      RETRAI_ARTIFACTS: `s3://${BUCKET}/outputs?endpoint=${service.endpoint}`,
      AWS_ACCESS_KEY_ID: ACCESS_KEY,
      AWS_SECRET_ACCESS_KEY: SECRET_KEY,
    },
  }
  const [one, other] = [await site.serve('one', options), await site.serve('other', options)]
  const { runId, sha256 } = await runWithArtifact(one)
  await untilStatus(other, runId, 'achieved')
  expect([...service.objects.keys()]).toEqual([`outputs/${sha256.slice(0, 2)}/${sha256}`])
  expect(await (await artifactOf(other, runId, sha256)).text()).toContain(SECRET)

  service.failures.push({ status: 503, code: 'SlowDown' })
  expect((await artifactOf(other, runId, sha256)).status).toBe(503)
  service.objects.clear()
  expect((await artifactOf(other, runId, sha256)).status).toBe(404)
})

test('a bucket without a key keeps the server from starting, and the message says what to set', async () => {
  const args = ['serve', '--port', '0', '--data-dir', site.path('data')]
  const refused = await retrai(args, { ...cleanEnv(), RETRAI_ARTIFACTS: 's3://outputs' })
  expect(refused.code).not.toBe(0)
  expect(refused.stderr).toContain('AWS_SECRET_ACCESS_KEY')
})
