import { execFileSync } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createServer as createTlsServer } from 'node:tls'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { appendError, storeFailure } from '../../../src/store/eventstoredb/calls.ts'
import {
  probeHosts,
  readConnectionString,
} from '../../../src/store/eventstoredb/connection-string.ts'
import { openEventStoreDb } from '../../../src/store/eventstoredb/eventstoredb-store.ts'
import { temporaryFolder } from '../../runner/support.ts'
import { isMissing } from '../../support/missing.ts'
import { portOf } from '../../support/serve.ts'
import { standIn } from './support.ts'

describe('a connection string', () => {
  test.each([
    ['esdb://host', [{ name: 'host', port: 2113 }], true],
    ['esdb://user:p%40ss@host:2114?tls=false', [{ name: 'host', port: 2114 }], false],
    ['esdb://host?tls=false&userKeyFile=/home/a@b/key', [{ name: 'host', port: 2113 }], false],
    [
      'esdb+discover://a:1,b,c:3?tls=true',
      [
        { name: 'a', port: 1 },
        { name: 'b', port: 2113 },
        { name: 'c', port: 3 },
      ],
      true,
    ],
  ])('%s names its hosts', (connectionString, hosts, tls) => {
    expect(readConnectionString(connectionString)._unsafeUnwrap()).toMatchObject({ hosts, tls })
  })

  test('of KurrentDB is the same as one of EventStoreDB', () => {
    const { base } = readConnectionString('kurrentdb+discover://a,b?tls=false')._unsafeUnwrap()
    expect(base).toBe('esdb+discover://a,b')
  })

  test.each(['zx@yq', 'zx:yq', 'zx/yq', 'z@x:y', 'zx?yq', '1?zx=yq', 'zx%yq'])(
    'with the password %s, which is not encoded, is refused without showing any of it',
    async (password) => {
      const connectionString = `esdb://admin:${password}@127.0.0.1:2113?tls=false`
      const { message } = (await openEventStoreDb({ connectionString }))._unsafeUnwrapErr()
      expect(message).toContain('%40 for @')
      expect(message).not.toMatch(/z|x|yq/)
    },
  )

  test.each(['tlsCAFile', 'userCertFile', 'userKeyFile'])(
    'with a file of %s that cannot be read is refused, and the file is named',
    async (option) => {
      const file = join(await temporaryFolder(), 'file.pem')
      const opened = await openEventStoreDb({ connectionString: `esdb://host?${option}=${file}` })
      expect(opened._unsafeUnwrapErr().message).toContain(file)
    },
  )

  test('with a user and no password is refused', () => {
    expect(readConnectionString('esdb://ada@host')._unsafeUnwrapErr()).toContain(
      'without a password',
    )
  })
})

const problems = (connectionString: string) =>
  probeHosts(readConnectionString(connectionString)._unsafeUnwrap())

describe('hosts are tried one by one', () => {
  test('a node that answers has no problem', async () => {
    const { connectionString } = await standIn()
    expect(await problems(connectionString)).toEqual([])
  })

  test('each host that fails is named, with what to do', async () => {
    const { port } = await standIn()
    const closed = createServer()
    const unused = await portOf(closed)
    closed.close()
    const hosts = `127.0.0.1:${unused},127.0.0.1:${port},no.such.host.invalid`
    expect(await problems(`esdb://${hosts}?tls=false`)).toEqual([
      expect.stringMatching(`127.0.0.1:${unused}: .*ECONNREFUSED`),
      expect.stringMatching('no.such.host.invalid:2113: getaddrinfo E'),
    ])
  })

  test('a node without TLS is recognized if the connection string asks for TLS', async () => {
    const { port } = await standIn()
    const [problem] = await problems(`esdb://127.0.0.1:${port}`)
    expect(problem).toContain('add tls=false')
  })

  test('the store logs what is wrong, and reports it when it is asked', async () => {
    const closed = createServer()
    const unused = await portOf(closed)
    closed.close()
    const lines: string[] = []
    const connectionString = `esdb://127.0.0.1:${unused}?tls=false&maxDiscoverAttempts=1`
    const opened = await openEventStoreDb({ connectionString, log: (line) => lines.push(line) })
    const store = opened._unsafeUnwrap()
    onTestFinished(() => store.close())
    await expect.poll(() => lines.join()).toContain('ECONNREFUSED')
    expect((await store.ping())._unsafeUnwrapErr()).toMatchObject({
      type: 'store_unavailable',
      message: expect.stringContaining('ECONNREFUSED'),
    })
  })
})

describe.skipIf(isMissing('openssl'))('certificates', () => {
  let folder: string
  const file = (name: string) => join(folder, name)
  const openssl = (...args: string[]) =>
    execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' })

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'retrai-certificates-'))
    const make = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
    for (const name of ['node', 'other']) {
      const names = ['-subj', `/CN=${name}`, '-addext', 'subjectAltName=DNS:localhost']
      openssl(...make, '-keyout', `${name}.key`, '-out', `${name}.pem`, '-days', '2', ...names)
    }
  })

  afterAll(() => rm(folder, { recursive: true, force: true }))

  async function tlsNode(): Promise<number> {
    const [key, cert] = await Promise.all([readFile(file('node.key')), readFile(file('node.pem'))])
    return portOf(createTlsServer({ key, cert, ALPNProtocols: ['h2'] }))
  }

  test('of the right authority are accepted', async () => {
    const port = await tlsNode()
    expect(await problems(`esdb://localhost:${port}?tlsCAFile=${file('node.pem')}`)).toEqual([])
  })

  test('of an unknown authority, or for other names, are explained', async () => {
    const port = await tlsNode()
    const [unknown] = await problems(`esdb://localhost:${port}`)
    expect(unknown).toMatch(
      /self-signed certificate.*signed by an authority of Node or of tlsCAFile/,
    )
    const [name] = await problems(`esdb://127.0.0.1:${port}?tlsCAFile=${file('node.pem')}`)
    expect(name).toMatch(/IP: 127\.0\.0\.1 is not in the cert.*must be for this name/)
  })
})

test.each([
  [{ code: 16, message: 'x' }, 'does not know the user in EVENTSTORE_URL, or not'],
  [{ code: 7, message: 'x' }, 'lacks a right'],
  [{ type: 'access-denied', message: 'x' }, 'lacks a right'],
])('a refusal for lack of rights (%j) names the setting and what is missing', (cause, text) => {
  const expected = { type: 'store_failed', message: expect.stringContaining(text) }
  expect(storeFailure(cause)).toMatchObject(expected)
  expect(appendError(cause, { expected: 0, bytes: 1 })).toMatchObject(expected)
})
