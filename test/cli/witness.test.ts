import { execFile } from 'node:child_process'
import { copyFile, cp, mkdir, readFile, writeFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { LogProof } from '../../src/api/audit.ts'
import { LogState } from '../../src/api/log.ts'
import { readWitnessFile } from '../../src/server/witnessing.ts'
import { VERIFIER } from '../audit/python.ts'
import { isMissing } from '../support/missing.ts'
import { bash, printed, Site, type SiteServer, until } from '../support/site.ts'
import { openNote, readKey, SpecWitness, signaturesBy } from '../support/spec-witness.ts'
import { TestAuthority } from '../support/stamp-authority.ts'
import { begin, cleanEnv, refused, retrai } from './support.ts'

let site: Site
let server: SiteServer
let spec: SpecWitness
let own: ReturnType<typeof begin>
/** The keys of both witnesses, of a third one that has seen nothing, and of the log. */
let keys: { readonly own: string; readonly spec: string; readonly other: string; log: string }
let runId: string

const file = (name: string): string => site.path(name)
const stateOf = async (from = server) => LogState.parse((await from.get('/api/log')).body)
const untilSeen = (seen: number, from = server) =>
  until(
    () => stateOf(from),
    ({ quorum, size }) => size > 0 && quorum.seen >= seen,
  )

async function finishedRun(on: SiteServer, project: string): Promise<string> {
  const id = await on.start(project, { max_iterations: 9 })
  await on.untilStatus(id, 'achieved')
  return id
}

const witnessFile = (quorum?: number, ...named: readonly (readonly [key: string, url: string])[]) =>
  JSON.stringify({ quorum, witnesses: named.map(([key, url]) => ({ key, url })) })

let serve: () => Promise<SiteServer>

beforeAll(async () => {
  site = await Site.open()
  const model = await site.model(Array.from({ length: 9 }, () => bash('touch done')))
  const env = { RETRAI_CHECKPOINT_SECONDS: '1' }
  const first = await site.serve('data', { model, env })
  await finishedRun(first, 'before')
  const log = (await first.get('/api/log/key')).text
  await first.stop()
  spec = await SpecWitness.open()
  spec.logs = [log]
  const [mine, other] = await Promise.all(
    ['witness', 'other'].map(async (name) => {
      return (await printed(['witness', 'key', '--data-dir', file(name)])).trim()
    }),
  )
  keys = { own: mine ?? '', other: other ?? '', spec: spec.key, log: log.trim() }
  own = begin(
    ['witness', '--listen', '127.0.0.1:0', '--data-dir', file('witness'), '--log', keys.log],
    cleanEnv(),
  )
  const [, url = ''] = await own.prints(/listens on (http:\S+)\. /)
  const named = witnessFile(2, [keys.spec, spec.url], [keys.own, `${url}/`])
  await writeFile(file('witnesses.json'), named)
  serve = () =>
    site.serve('data', { model, env: { ...env, RETRAI_WITNESSES: file('witnesses.json') } })
  server = await serve()
  runId = await finishedRun(server, 'project')
})
afterAll(async () => {
  own.interrupt()
  await own.exit
  await spec.close()
  await site.close()
})

const witnesses = () => ['--witness', keys.spec, '--witness', keys.own]

/** The proof of a run, as soon as a checkpoint covers all of it and both witnesses have seen that. */
const provedRun = () =>
  until(
    async () => {
      const { body } = await server.get(`/api/runs/${runId}/proof`)
      const log = LogProof.nullable().parse(body.log)
      const signatures = log === null ? 0 : openNote(log.note).signatures.length
      return { log, isSeen: log?.leaf.length === body.length && signatures === 3 }
    },
    ({ isSeen }) => isSeen,
  )

describe('a server with witnesses', () => {
  test('shows its checkpoints to them, those from before too', async () => {
    const { log } = await provedRun()
    const state = await untilSeen(2)
    expect(state).toMatchObject({
      key: keys.log,
      quorum: { needed: 2, seen: 2, holds: true },
      witnesses: [
        { name: spec.name, size: state.size, problem: null },
        { name: readKey(keys.own).name, size: state.size, problem: null },
      ],
    })
    expect(state).not.toHaveProperty('former')
    const { text: note, headers } = await server.get('/api/log/checkpoint')
    expect(headers.get('content-type')).toBe('text/plain; charset=utf-8')
    const [byLog] = openNote(note).signatures
    expect(byLog?.name).toBe(state.origin)
    for (const key of Object.values(keys).filter((each) => each !== keys.other)) {
      expect(signaturesBy(note, key)).toEqual({ count: 1, good: true })
    }
    expect(log?.checkpoint.number).toBe(log?.index ?? 0)
    const tile = await server.bytes('/api/log/tile/0/000.p/1')
    expect(tile.length).toBe(32)
    const shown = await printed(['witness', 'show', '--data-dir', file('witness')])
    expect(shown).toContain(`${state.origin} size ${state.size} root `)
    expect(await retrai(['witness', 'show', '--data-dir', file('other')])).toEqual({
      code: 0,
      stdout: '',
      stderr: 'The witness has signed nothing yet.\n',
    })
    expect((await server.get('/api/log/tile/0/009')).status).toBe(404)
    expect((await server.get(`/api/log/checkpoint?size=${state.size + 99}`)).status).toBe(404)
    const listed = await server.get('/api/checkpoints?limit=1')
    expect(listed.headers.get('retrai-seen-by')).toMatch(/^\d of 2; 20.*Z$/)
  })

  test('reports the quorum, and is ready without it', async () => {
    await untilSeen(2)
    const { body } = await server.get('/health/ready')
    expect(body).toMatchObject({
      ready: true,
      checks: { quorum: { ok: true, detail: expect.stringContaining('of 2 witnesses') } },
    })
  })

  test('exports a run with what proves that it was seen, for both verifiers', async ({ skip }) => {
    await provedRun()
    const target = file('run.tar.gz')
    await exportRun()
    const seen = await printed(['verify', target, ...witnesses()])
    expect(seen).toContain(`Seen by ${spec.name} at 20`)
    await printed(['verify', target])
    const missing = await retrai(['verify', target, '--witness', keys.other])
    expect(missing.code).toBe(1)
    expect(missing.stdout).toContain(readKey(keys.other).name)
    const one = ['--witness', keys.other, '--witness', keys.own, '--quorum', '1']
    await printed(['verify', target, ...one])
    for (const wrong of [
      ['--witness', 'x'],
      ['--witness', keys.log],
      ['--witness', `${keys.own}A`],
      ['--witness', keys.own, '--quorum', '2'],
      ['--quorum', '1'],
    ]) {
      await refused(['verify', target, ...wrong], /--(?:witness|quorum)/)
    }
    if (isMissing('python3')) return skip()
    const python = (...args: string[]) =>
      promisify(execFile)('python3', [VERIFIER, target, ...args])
    expect((await python(...witnesses())).stdout).toMatch(/^holds/)
    await expect(python('--witness', keys.other)).rejects.toMatchObject({ code: 1 })
    expect((await python(...one)).stdout).toMatch(/^holds/)
    for (const wrong of [
      ['--witness', 'x'],
      ['--witness', keys.own, '--quorum', '2'],
    ])
      await expect(python(...wrong)).rejects.toMatchObject({ code: 3 })
  })

  async function exportRun(): Promise<void> {
    await printed(['export', runId, file('run.tar.gz'), '--force', '--server', server.url])
  }

  test('exports what enough witnesses have seen, though one has seen more', async () => {
    await provedRun()
    const { size } = await untilSeen(2)
    spec.lie = () => ({ status: 500, body: 'away' })
    onTestFinished(() => {
      spec.lie = (honest) => honest()
    })
    await finishedRun(server, 'seen-by-one')
    await until(stateOf, ({ witnesses: [, mine] }) => (mine?.size ?? 0) > size)
    await exportRun()
    await printed(['verify', file('run.tar.gz'), ...witnesses()])
  })

  test('is verified against its witnesses: the server, its folder, a backup and a copy', async () => {
    await provedRun()
    await untilSeen(2)
    const backup = file('restored')
    await mkdir(backup)
    const from = ['--data-dir', file('data')]
    await printed(['backup', `${backup}/log.sqlite`, ...from])
    await cp(file('data/artifacts'), `${backup}/artifacts`, { recursive: true }).catch(() => {})
    await mkdir(`${backup}/keys`)
    await copyFile(file('data/keys/keyring.json'), `${backup}/keys/keyring.json`)
    await printed(['copy', '--from', file('data'), '--to', file('copied')])
    for (const place of [
      ['--server', server.url],
      from,
      ['--data-dir', backup],
      ['--data-dir', file('copied')],
    ]) {
      const seen = await printed(['verify', ...place, ...witnesses()])
      expect(seen).toContain(`The witness ${spec.name} has seen checkpoint`)
      const unseen = await retrai(['verify', ...place, '--witness', keys.other])
      expect(unseen.code).toBe(1)
      expect(unseen.stdout).toContain(`${readKey(keys.other).name} did not sign this`)
    }
    await writeFile(file('kept.json'), (await server.get('/api/checkpoints/latest')).text)
    const both = ['--checkpoint', file('kept.json'), ...witnesses()]
    await refused(['verify', ...from, ...both], 'not both')
  })
})

test('a server whose log was put back takes another id, and names the tree that a witness has seen', async () => {
  const before = await untilSeen(2)
  await server.stop()
  const id = await readFile(file('data/server-id'), 'utf8')
  await mkdir(file('older'))
  await copyFile(file('data/log.sqlite'), file('older/log.sqlite'))
  server = await serve()
  await finishedRun(server, 'later')
  await until(
    () => stateOf(),
    ({ size, quorum }) => size > before.size && quorum.seen === 2,
  )
  await server.stop()
  const seen = spec.seen.get(before.origin)?.size ?? 0
  for (const name of ['log.sqlite-wal', 'log.sqlite-shm']) {
    await writeFile(file(`data/${name}`), '')
  }
  await copyFile(file('older/log.sqlite'), file('data/log.sqlite'))
  server = await serve()
  const state = await until(
    () => stateOf(),
    ({ former = [] }) => former.length > 0,
  )
  expect(state.former).toEqual([{ origin: before.origin, size: seen }])
  const renewed = (await readFile(file('data/server-id'), 'utf8')).trim()
  expect(renewed).not.toBe(id.trim())
  expect(state.origin).toBe(before.origin.replace(id.trim(), renewed))
  await until(
    () => stateOf(),
    ({ witnesses: all }) => all.every(({ problem }) => problem?.includes('does not know this log')),
  )
  spec.logs.push((await server.get('/api/log/key')).text)
  await untilSeen(1)
})

test.each<[string, string, () => string]>([
  ['no JSON', 'cannot be read', () => '{'],
  ['a text that is no key', 'witnesses.0.key', () => witnessFile(1, ['x', 'http://a'])],
  ['the key of a log', 'witnesses.0.key', () => witnessFile(1, [keys.log, 'http://a'])],
  ['no address', 'witnesses.0.url', () => witnessFile(1, [keys.own, 'a'])],
  ['too large a quorum', 'quorum of 2', () => witnessFile(2, [keys.own, 'http://a'])],
  ['one twice', 'twice', () => witnessFile(1, [keys.own, 'http://a'], [keys.own, 'http://b'])],
  ['no quorum', 'quorum', () => witnessFile()],
])('a file of witnesses with %s is refused', async (_what, why, content) => {
  const path = await site.write('wrong.json', content())
  expect((await readWitnessFile(path))._unsafeUnwrapErr()).toContain(why)
})

test.skipIf(isMissing('openssl'))(
  'with an authority, the time of the newest checkpoint is stamped, and exports have that',
  async () => {
    const authority = await TestAuthority.open()
    site.onClose(() => authority.close())
    const model = await site.model([bash('touch done')])
    const env = { RETRAI_CHECKPOINT_SECONDS: '1' }
    const before = await site.serve('stamped', { model, env })
    const id = await finishedRun(before, 'stamped-project')
    expect(await stateOf(before)).not.toHaveProperty('stamp')
    await before.stop()
    await writeFile(file('ca.pem'), authority.ca)
    const named = { RETRAI_TSA: authority.url, RETRAI_TSA_CA: file('ca.pem') }
    const after = await site.serve('stamped', { model, env: { ...env, ...named } })
    const { stamp } = await until(
      () => stateOf(after),
      (state) => state.stamp?.at != null,
    )
    expect(stamp).toMatchObject({ name: 'Test clock', problem: null })
    const target = file('stamped.tar.gz')
    await printed(['export', id, target, '--force', '--server', after.url])
    const stdout = await printed(['verify', target])
    expect(stdout).toContain(`Stamped by Test clock at ${stamp?.at}`)
    const [fingerprint = ''] = /(?<=has the SHA-256 )[\da-f]{64}/.exec(stdout) ?? []
    const key = /by the key (\S+)/.exec(stdout)?.[1] ?? ''
    const trusted = ['--fingerprint', fingerprint, '--fingerprint', key]
    expect(await printed(['verify', target, ...trusted])).toContain('You trust this authority')
    if (isMissing('python3')) return
    const { stdout: said } = await promisify(execFile)('python3', [VERIFIER, target])
    expect(said).toMatch(/^holds: .*stamped at /s)
  },
)

test('a witness says what it needs', async () => {
  const dir = ['--data-dir', file('new')]
  for (const [args, why] of [
    [[...dir, '--log', keys.log], '--listen must be'],
    [['--listen', '127.0.0.1:0', '--log', keys.log], '--data-dir'],
    [['--listen', '127.0.0.1:0', ...dir, '--log', keys.own], '--log must be the key of a log'],
    [['show', '--data-dir', file('elsewhere-yet')], 'There is no folder'],
  ] as const) {
    await refused(['witness', ...args], why)
  }
})

test('servers that share an EventStoreDB have a tree each, and the store is verified against their witness', async () => {
  const store = await site.standIn()
  const model = await site.model(Array.from({ length: 4 }, () => bash('touch done')))
  const seen = await SpecWitness.open('witness.example/shared')
  site.onClose(() => seen.close())
  await writeFile(file('shared.json'), witnessFile(1, [seen.key, seen.url]))
  const env = { RETRAI_CHECKPOINT_SECONDS: '1', RETRAI_WITNESSES: file('shared.json') }
  const servers: SiteServer[] = []
  for (const name of ['one', 'two']) {
    const each = await site.serve(name, { store, model, env: { ...env, RETRAI_POOL: name } })
    seen.logs.push((await each.get('/api/log/key')).text)
    servers.push(each)
  }
  for (const [index, each] of servers.entries()) await finishedRun(each, `shared-${index}`)
  const states = await Promise.all(servers.map((each) => untilSeen(1, each)))
  expect(new Set(states.map(({ origin }) => origin)).size).toBe(2)
  for (const each of servers) await each.stop()
  const { connectionString } = store
  const verified = await printed(['verify', '--store', connectionString, '--witness', seen.key])
  expect(verified).toContain(`The witness ${seen.name} has seen checkpoint`)
  const other = await retrai(['verify', '--store', connectionString, '--witness', keys.other])
  expect(other.code).toBe(1)
})
