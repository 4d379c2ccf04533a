import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import * as z from 'zod'
import { readAddress } from '../src/store/eventstoredb/address.ts'
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

  test('names, in the URL of the cluster, what its nodes advertise and their certificates hold', () => {
    const advertised = nodes.flatMap(
      ([, { environment }]) => environment.EVENTSTORE_NODE_HOST_ADVERTISE_AS ?? [],
    )
    const url = services['retrai-cluster']?.environment.EVENTSTORE_URL ?? ''
    // The certificate authority is only in the containers, and Docker fills in the password.
    const readable = url.replace(/&tlsCAFile=.*/, '').replace(/\$\{.*\}/, 'password')
    const address = readAddress(readable)._unsafeUnwrap()
    expect(url).toContain('tlsCAFile=')
    expect(address.tls).toBe(true)
    expect(address.hosts.map(({ name }) => name)).toEqual(advertised)
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
