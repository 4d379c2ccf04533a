import { execFileSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, onTestFinished, test } from 'vitest'
import { parse } from 'yaml'
import * as z from 'zod'
import { readConnectionString } from '../src/store/eventstoredb/connection-string.ts'
import { temporaryFolder } from './runner/support.ts'
import { isMissing } from './support/missing.ts'

const file = (name: string) => readFileSync(new URL(`../${name}`, import.meta.url), 'utf8')

const Service = z.looseObject({
  image: z.string().optional(),
  restart: z.string().optional(),
  environment: z.record(z.string(), z.coerce.string()).default({}),
})
const { services } = z
  .object({ services: z.record(z.string(), Service) })
  .parse(parse(file('docker-compose.yml'), { merge: true }))

const nodes = Object.entries(services).filter(([, { image }]) => image?.includes('/eventstore:'))

/** docs/eventstoredb.md promises all of this. */
describe('docker-compose.yml', () => {
  test('restarts a node even if it exits with status 0', () => {
    expect(nodes.length).toBe(4)
    for (const [, { restart }] of nodes) expect(['always', 'unless-stopped']).toContain(restart)
  })

  test('gives the service the same settings on one node and on three', () => {
    const [one, three] = ['retrai', 'retrai-cluster'].map((name) =>
      Object.keys(services[name]?.environment ?? {}).sort(),
    )
    expect(three).toEqual(one)
  })

  test('names, in the URL of the cluster, what its nodes advertise and their certificates hold', () => {
    const advertised = nodes.flatMap(
      ([, { environment }]) => environment.EVENTSTORE_NODE_HOST_ADVERTISE_AS ?? [],
    )
    const url = services['retrai-cluster']?.environment.EVENTSTORE_URL ?? ''
    // The certificate authority is only in the containers, and Docker fills in the password.
    const readable = url.replace(/&tlsCAFile=.*/, '').replace(/\$\{.*\}/, 'password')
    const address = readConnectionString(readable)._unsafeUnwrap()
    expect(url).toContain('tlsCAFile=')
    expect(address.options).not.toContainEqual(
      expect.objectContaining({ key: 'tls', value: 'false' }),
    )
    const [, hosts = ''] = address.base.split('@')
    expect(hosts.split(',').map((host) => host.split(':')[0])).toEqual(advertised)
    const script = file('docker/make-certificates.sh')
    const [, made = ''] = /for node in (.*); do/.exec(script) ?? []
    expect(script).toContain('-dns-names "$node.eventstore,')
    expect(made.split(' ').map((node) => `${node}.eventstore`)).toEqual(advertised)
  })

  test.skipIf(isMissing('docker'))('is valid for Docker, with all its profiles', () => {
    const root = new URL('..', import.meta.url)
    const env = { ...process.env, RETRAI_TOKEN: 'a token for this test' }
    const args = ['compose', '--profile', 'cluster', 'config', '--quiet']
    execFileSync('docker', args, { cwd: root, env, stdio: 'pipe' })
  })
})

const TOKEN = 'a-token-for-this-test'
/** An election ends within seconds, and a node that was killed is not needed. */
const FAILOVER_MS = 60_000
/** Free ports, so nothing else on the machine is in the way. */
const FREE_PORTS = `services:
${[...nodes.map(([name]) => name), 'retrai', 'retrai-cluster']
  .map(
    (name) =>
      `  ${name}:\n    ports: !override ['127.0.0.1::${name.startsWith('retrai') ? 8000 : 2113}']`,
  )
  .join('\n')}
`

/** The cluster of docker-compose.yml, with a password that has another form in the URL. Removed after the test. */
async function startCluster() {
  const ports = join(await temporaryFolder(), 'ports.yml')
  writeFileSync(ports, FREE_PORTS)
  const project = `retrai-test-${randomUUID()}`
  const files = ['--file', 'docker-compose.yml', '--file', ports, '--profile', 'cluster']
  const compose = (...args: string[]): string =>
    execFileSync('docker', ['compose', '--project-name', project, ...files, ...args], {
      cwd: new URL('..', import.meta.url),
      env: {
        ...process.env,
        RETRAI_TOKEN: TOKEN,
        EVENTSTORE_ADMIN_PASSWORD: 'p@ss:w/rd',
        EVENTSTORE_ADMIN_PASSWORD_ENCODED: 'p%40ss%3Aw%2Frd',
      },
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    })
  onTestFinished(() => void compose('down', '--volumes', '--timeout', '10'), 120_000)
  compose('up', '--detach', '--wait', 'retrai-cluster')
  const url = `http://${compose('port', 'retrai-cluster', '8000').trim()}`
  return { compose, url }
}

/** Makes a token, which is a write to the log. */
async function write(url: string): Promise<number> {
  const body = JSON.stringify({ name: `t-${randomUUID()}`, role: 'viewer' })
  const headers = { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json' }
  const answer = await fetch(`${url}/api/tokens`, { method: 'POST', headers, body })
  return answer.status
}

test.skipIf(isMissing('the images of docker-compose.yml'))(
  'the cluster of docker-compose.yml serves, and continues after its leader was killed',
  { timeout: 600_000 },
  async () => {
    const { compose, url } = await startCluster()
    expect((await fetch(`${url}/health/ready`)).status).toBe(200)
    expect(await write(url)).toBe(201)
    const doctor = compose('exec', 'retrai-cluster', 'node', '/app/bin/retrai.js', 'doctor')
    const [, leader = ''] =
      /its leader is (node\d\.eventstore):2113\. This user may/.exec(doctor) ?? []
    expect(nodes.map(([name]) => name)).toContain(leader)

    compose('kill', '--signal', 'SIGKILL', leader)
    const end = performance.now() + FAILOVER_MS
    let status = await write(url)
    while (status !== 201 && performance.now() < end) {
      await sleep(500)
      status = await write(url)
    }
    expect(status).toBe(201)
  },
)
