import { mkdir, rm } from 'node:fs/promises'
import { expect } from 'vitest'
import * as z from 'zod'
import { artifactStream } from '../../src/log/run-log.ts'
import { cleanEnv, retrai, retraiProcess } from '../cli/support.ts'
import { ACCESS_KEY, BUCKET, S3StandIn, SECRET_KEY } from '../support/s3-stand-in.ts'
import { answered, bash, printed, type Site, type SiteServer, until } from '../support/site.ts'
import { test } from '../support/test.ts'
import { fails, prints } from './support.ts'

type Place = { readonly env: Readonly<Record<string, string>> }

async function folder(site: Site): Promise<Place> {
  const path = site.path('shared')
  await mkdir(path)
  return { env: { RETRAI_ARTIFACTS: path } }
}

async function bucket(site: Site): Promise<Place & { readonly service: S3StandIn }> {
  const service = await S3StandIn.start()
  site.onClose(() => service.stop())
  return {
    env: {
      RETRAI_ARTIFACTS: `s3://${BUCKET}/outputs?endpoint=${service.endpoint}`,
      AWS_ACCESS_KEY_ID: ACCESS_KEY,
      AWS_SECRET_ACCESS_KEY: SECRET_KEY,
    },
    service,
  }
}

/** The data folder of the server, or the log of its EventStoreDB. */
const NOWHERE_ELSE: Place = { env: {} }

const SECRET = 'orchid-in-the-long-output'
const SCRIPT = [bash(`seq 1 9000; echo ${SECRET}; seq 1 9000`), bash('touch done')]

const Result = z.object({
  kind: z.literal('tool_result'),
  seq: z.int(),
  payload: z.object({ sha256: z.string() }),
})

/** The output of a run that is too long for a record, and the seq of its record. */
async function artifactIn(server: SiteServer, runId: string) {
  const events = z.array(z.unknown()).parse((await server.get(`/api/runs/${runId}/events`)).body)
  const [result] = events.flatMap((event) => Result.safeParse(event).data ?? [])
  const sha256 = result?.payload.sha256 ?? ''
  const address = `/api/runs/${runId}/artifacts/${sha256}`
  return {
    runId,
    seq: result?.seq ?? -1,
    sha256,
    address,
    from: (one = server) => one.get(address),
  }
}

/** A data folder with one run, whose long output is in this place, or in the log of this store. */
async function used(site: Site, { env }: Place, store?: { readonly connectionString: string }) {
  const options = { env, ...(store && { store }) }
  const { server, runId, model } = await site.used(SCRIPT, options)
  return { server, options: { ...options, model }, artifact: await artifactIn(server, runId) }
}

const withPlace = ({ env }: Place) => ({ ...cleanEnv(), ...env })
const verifyFolder = (site: Site, env: NodeJS.ProcessEnv) =>
  retrai(['verify', '--data-dir', site.path('data')], env)
const copyTo = (site: Site, to: string, env: NodeJS.ProcessEnv, ...more: string[]) =>
  retrai(['copy', '--from', site.path('data'), '--to', to, ...more], env)

const HOLDS = {
  code: 0,
  stdout: expect.stringMatching(/The store holds\.[\s\S]* [1-9]\d* artifacts\./),
}
const lacks = (sha256: string) => ({
  code: 1,
  stdout: expect.stringMatching(
    new RegExp(`DOES NOT HOLD[\\s\\S]*missing: .*${sha256} is missing`),
  ),
})

test('artifacts in a bucket are found by every server and by a verification that knows the place, and missing for one that does not', async ({
  site,
}) => {
  const place = await bucket(site)
  const { artifact, options } = await used(site, place, await site.standIn())
  const other = await site.serve('other', options)
  await other.untilStatus(artifact.runId, 'achieved')
  expect((await artifact.from(other)).text).toContain(SECRET)
  const verify = ['verify', '--store', options.store?.connectionString ?? '']
  expect(await retrai(verify, withPlace(place))).toMatchObject(HOLDS)
  expect(await retrai(verify)).toMatchObject(lacks(artifact.sha256))
  place.service.objects.clear()
  expect(await retrai(verify, withPlace(place))).toMatchObject(lacks(artifact.sha256))
  expect((await artifact.from(other)).status).toBe(404)
})

test('artifacts in a bucket stay there when the log is copied to an EventStoreDB, unless its servers keep artifacts in it', async ({
  site,
}) => {
  const place = await bucket(site)
  const { server, artifact } = await used(site, place)
  await server.stop()
  const store = await site.standIn()
  const { connectionString: to } = store
  expect(await copyTo(site, to, withPlace(place))).toMatchObject({
    code: 0,
    stdout: expect.not.stringContaining('artifacts'),
  })
  const other = await site.serve('other', { store, env: place.env })
  await other.untilReady()
  expect((await artifact.from(other)).status).toBe(200)
  await other.stop()
  expect(await copyTo(site, to, withPlace(place), '--artifacts', 'log')).toMatchObject(
    prints(/; [1-9]\d* artifacts\n/),
  )
  expect(await retrai(['verify', '--store', to])).toMatchObject(HOLDS)

  // A copy names those that are lost, and copies the rest.
  expect(await verifyFolder(site, withPlace(place))).toMatchObject(HOLDS)
  place.service.objects.clear()
  expect(await copyTo(site, site.path('copy'), withPlace(place))).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(`Not in the source either: artifacts .*${artifact.sha256}`),
  })
})

test('copy takes artifacts from the data folder into a shared one, or into the log of an EventStoreDB', async ({
  site,
}) => {
  const { server, artifact } = await used(site, NOWHERE_ELSE)
  await server.stop()
  for (const place of [await folder(site), NOWHERE_ELSE]) {
    const store = await site.standIn()
    const copied = await copyTo(site, store.connectionString, withPlace(place))
    expect(copied).toMatchObject(prints(/; [1-9]\d* artifacts\n/))
    const verify = ['verify', '--store', store.connectionString]
    expect(await retrai(verify, withPlace(place))).toMatchObject(HOLDS)
    // That a server finds them in the log, the test of servers beside each other shows.
    if (place === NOWHERE_ELSE) continue
    const fresh = await site.serve('fresh', { store, env: place.env })
    await fresh.untilReady()
    expect((await artifact.from(fresh)).text).toContain(SECRET)
  }
})

test('a bucket that cannot be reached is told apart from lost artifacts, by every program that reads it', async ({
  site,
}) => {
  const place = await bucket(site)
  const { server, artifact } = await used(site, place)
  const { runId, sha256 } = artifact
  const { service } = place
  expect([...service.objects.keys()]).toContain(`outputs/${sha256.slice(0, 2)}/${sha256}`)
  await rm(site.path('data', 'artifacts'), { recursive: true, force: true })
  service.failures.push({ status: 503, code: 'SlowDown' })
  expect((await artifact.from()).status).toBe(503)
  await service.stop()
  expect(await server.get(`/api/runs/${runId}/export`)).toMatchObject({
    status: 503,
    text: expect.stringMatching(
      /store_unavailable.*The bucket of artifacts at .* cannot be reached/,
    ),
  })
  expect(await retrai(['verify', '--server', server.url])).toMatchObject(
    fails('The bucket of artifacts'),
  )
  const verified = await verifyFolder(site, withPlace(place))
  expect(verified).toMatchObject(
    prints(
      new RegExp(`NOT EVERYTHING COULD BE READ[\\s\\S]*unreachable: its artifact ${sha256}`),
      3,
    ),
  )
  expect(verified.stdout).not.toContain('DOES NOT HOLD')
  await server.stop()
  const copied = await copyTo(site, site.path('copy'), withPlace(place), '--artifacts', 'log')
  expect(copied).toMatchObject(
    fails(new RegExp(`not these artifacts: .*${sha256}.*\\. The bucket`)),
  )
})

test('an artifact of one server is served, verified, copied and redacted by every other, and not missing while the log is away', async ({
  site,
}) => {
  const { faults, connectionString } = await site.standIn()
  const store = { connectionString: `${connectionString}&defaultDeadline=1000` }
  const { server: one, options, artifact } = await used(site, NOWHERE_ELSE, store)
  const other = await site.serve('other', options)
  const { runId, seq } = artifact
  await other.untilStatus(runId, 'achieved')
  expect((await artifact.from(other)).text).toContain(SECRET)
  const copy = (name: string) =>
    printed(['copy', '--from', store.connectionString, '--to', site.path(name)])
  const verifyCopy = (name: string) => printed(['verify', '--data-dir', site.path(name)])
  expect(await printed(['verify', '--server', other.url])).toContain('The store holds')
  await copy('copy')
  expect(await verifyCopy('copy')).toMatch(/hold, and [1-9]\d* artifacts/)
  await rm(site.path('data', 'artifacts'), { recursive: true })
  // With so short a deadline, a busy machine may need several attempts.
  await until(() => artifact.from(), answered(200))
  await faults.down()
  expect(await artifact.from()).toMatchObject({
    status: 503,
    text: expect.stringContaining('store_unavailable'),
  })
  await faults.up()
  await Promise.all([one.untilReady(), other.untilReady()])

  const redaction = { seq, pointer: '/output', reason: 'a password', secret: null }
  expect((await other.post(`/api/runs/${runId}/redact`, redaction)).status).toBe(200)
  for (const server of [one, other]) {
    await until(() => artifact.from(server), answered(404))
  }
  expect(await printed(['verify', '--server', one.url])).toContain('The store holds')
  await copy('clean')
  await verifyCopy('clean')
})

test('artifacts that an earlier version kept in its data folder become readable through every server', async ({
  site,
}) => {
  const standIn = await site.standIn()
  const { server, options, artifact } = await used(site, NOWHERE_ELSE, standIn)
  await server.stop()
  // As an earlier version has left it: the log does not hold it.
  const stream = artifactStream(artifact.sha256)
  const store = await site.storeOf(standIn)
  expect((await store.deleteStream?.(stream))?.isOk()).toBe(true)
  await store.close()
  standIn.log.restore(standIn.log.all.filter((event) => event.stream !== stream))

  const other = await site.serve('other', options)
  await other.untilReady()
  expect((await artifact.from(other)).status).toBe(404)
  await site.serve('data', options)
  await until(() => artifact.from(other), answered(200))
})

test('a bucket without a key keeps the server from starting, and the message says what to set', async ({
  site,
}) => {
  const args = ['serve', '--port', '0', '--data-dir', site.path('data')]
  const refused = await retraiProcess(args, { ...cleanEnv(), RETRAI_ARTIFACTS: 's3://outputs' })
  expect(refused.code).not.toBe(0)
  expect(refused.stderr).toContain('AWS_SECRET_ACCESS_KEY')
})
