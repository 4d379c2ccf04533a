import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import * as z from 'zod'
import type { ServerProcess } from '../../examples/demo/server.ts'
import { cleanEnv, retrai } from '../cli/support.ts'
import { ACCESS_KEY, BUCKET, S3StandIn, SECRET_KEY } from '../support/s3-stand-in.ts'
import { get, Site, start, untilReady, untilStatus } from './support.ts'

let site: Site
beforeEach(async () => {
  site = await Site.open()
})
afterEach(() => site[Symbol.asyncDispose]())

type Place = {
  readonly env: Readonly<Record<string, string>>
  /** Removes all artifacts from it. */
  empty(): Promise<void>
  /** Makes it unreachable until the test ends. */
  leave?(): Promise<void>
}

async function folder(): Promise<Place> {
  const path = site.path('shared')
  await mkdir(path)
  return { env: { RETRAI_ARTIFACTS: path }, empty: () => rm(path, { recursive: true }) }
}

async function bucket(): Promise<Place> {
  const service = await S3StandIn.start()
  site.onClose(() => service.stop())
  return {
    env: {
      RETRAI_ARTIFACTS: `s3://${BUCKET}/outputs?endpoint=${service.endpoint}`,
      AWS_ACCESS_KEY_ID: ACCESS_KEY,
      AWS_SECRET_ACCESS_KEY: SECRET_KEY,
    },
    empty: async () => service.objects.clear(),
    leave: () => service.stop(),
  }
}

const Named = z.object({
  kind: z.literal('tool_result'),
  payload: z.object({ sha256: z.string() }),
})

/** A data folder with one run, whose long output is in this place. */
async function usedFolder({ env }: Place) {
  const long = { tool: 'bash_exec', args: { command: 'seq 1 9000' } }
  const done = { tool: 'bash_exec', args: { command: 'touch done' } }
  const model = await site.model([{ calls: [long] }, { calls: [done] }])
  const server = await site.serve('data', { model: model.url, env })
  const runId = await start(server, await site.project(), { max_iterations: 5 })
  await untilStatus(server, runId, 'achieved')
  const events = z.array(z.unknown()).parse((await get(server, `/api/runs/${runId}/events`)).body)
  const [named] = events.flatMap((event) => Named.safeParse(event).data?.payload.sha256 ?? [])
  return { server, runId, sha256: named ?? '' }
}

const withPlace = ({ env }: Place) => ({ ...cleanEnv(), ...env })
const verifyFolder = (env: NodeJS.ProcessEnv) =>
  retrai(['verify', '--data-dir', site.path('data')], env)
const copyTo = (to: string, env: NodeJS.ProcessEnv, ...more: string[]) =>
  retrai(['copy', '--from', site.path('data'), '--to', to, ...more], env)

const HOLDS = { code: 0, stdout: expect.stringMatching(/The store holds\.[\s\S]* 1 artifact\./) }
const lacks = (sha256: string) => ({
  code: 1,
  stdout: expect.stringMatching(
    new RegExp(`DOES NOT HOLD[\\s\\S]*missing: .*${sha256} is missing`),
  ),
})

describe.each([
  ['a folder', folder],
  ['a bucket', bucket],
])('artifacts in %s', (_, open) => {
  test('are found by a verification that knows the place, and missing for one that does not', async () => {
    const place = await open()
    const { sha256 } = await usedFolder(place)
    expect(await verifyFolder(withPlace(place))).toMatchObject(HOLDS)
    expect(await verifyFolder(cleanEnv())).toMatchObject(lacks(sha256))
    await place.empty()
    expect(await verifyFolder(withPlace(place))).toMatchObject(lacks(sha256))
  })

  test('stay there when the log is copied to an EventStoreDB, whose servers and verifiers read them there', async () => {
    const place = await open()
    const { server, runId, sha256 } = await usedFolder(place)
    await server.stop()
    const { connectionString: to } = await site.standIn()
    expect(await copyTo(to, withPlace(place))).toMatchObject({
      code: 0,
      stdout: expect.not.stringContaining('artifacts'),
    })
    expect(await retrai(['verify', '--store', to], withPlace(place))).toMatchObject(HOLDS)
    expect(await retrai(['verify', '--store', to])).toMatchObject(lacks(sha256))
    const other = await site.serve('other', { args: ['--store', to], env: place.env })
    await untilReady(other)
    expect((await artifactOf(other, runId, sha256)).status).toBe(200)
  })

  test('are copied into an EventStoreDB if its servers keep artifacts there', async () => {
    const place = await open()
    const { server } = await usedFolder(place)
    await server.stop()
    const { connectionString: to } = await site.standIn()
    expect(await copyTo(to, withPlace(place), '--artifacts', 'log')).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('; 1 artifact\n'),
    })
    expect(await retrai(['verify', '--store', to])).toMatchObject(HOLDS)
  })

  test('that are lost are named by a copy, which copies the rest', async () => {
    const place = await open()
    const { server, sha256 } = await usedFolder(place)
    await server.stop()
    await place.empty()
    expect(await copyTo(site.path('copy'), withPlace(place))).toMatchObject({
      code: 0,
      stdout: expect.stringContaining(`Not in the source either: artifacts ${sha256}.`),
    })
  })
})

const artifactOf = (server: ServerProcess, runId: string, sha256: string) =>
  fetch(`${server.url}/api/runs/${runId}/artifacts/${sha256}`)

test('copy moves artifacts from the data folder into a shared one', async () => {
  const { server } = await usedFolder({ env: {}, empty: async () => {} })
  await server.stop()
  const { env } = await folder()
  const { connectionString: to } = await site.standIn()
  expect(await copyTo(to, { ...cleanEnv(), ...env })).toMatchObject({
    code: 0,
    stdout: expect.stringContaining('; 1 artifact\n'),
  })
  expect(await retrai(['verify', '--store', to], { ...cleanEnv(), ...env })).toMatchObject(HOLDS)
})

test('a bucket that cannot be reached is told apart from lost artifacts, by every program that reads it', async () => {
  const place = await bucket()
  const { server, runId, sha256 } = await usedFolder(place)
  await rm(join(site.path('data'), 'artifacts'), { recursive: true, force: true })
  await place.leave?.()
  const answer = await fetch(`${server.url}/api/runs/${runId}/export`)
  expect([answer.status, await answer.text()]).toEqual([
    503,
    expect.stringMatching(/store_unavailable.*The bucket of artifacts at .* cannot be reached/),
  ])
  expect(await retrai(['verify', '--server', server.url])).toMatchObject({
    code: 3,
    stderr: expect.stringContaining('The bucket of artifacts'),
  })
  const verified = await verifyFolder(withPlace(place))
  expect(verified).toMatchObject({
    code: 3,
    stdout: expect.stringMatching(
      new RegExp(`NOT EVERYTHING COULD BE READ[\\s\\S]*unreachable: its artifact ${sha256}`),
    ),
  })
  expect(verified.stdout).not.toContain('DOES NOT HOLD')
  await server.stop()
  expect(await copyTo(site.path('copy'), withPlace(place), '--artifacts', 'log')).toMatchObject({
    code: 3,
    stderr: expect.stringMatching(new RegExp(`not these artifacts: ${sha256}\\. The bucket`)),
  })
})
