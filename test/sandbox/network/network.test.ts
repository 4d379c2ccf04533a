import { beforeAll, describe, expect, test } from 'vitest'
import { networkProblem } from '../../../src/sandbox/network/whole-network.ts'
import { isMissing } from '../../support/missing.ts'
import { HOST, inWorld, isRoot, MACHINE, OTHER_ADDRESS, type Outcome } from './world.ts'

/** Asks the proxy for a connection, sends a line through it, and prints all answers. */
const through = (authority: string): string =>
  `exec 3<>/dev/tcp/127.0.0.1/3128; printf 'CONNECT ${authority} HTTP/1.1\\r\\n\\r\\n' >&3
   IFS= read -r status <&3; echo "$status"
   while IFS= read -r line <&3 && [ "$line" != $'\\r' ]; do :; done
   echo hello >&3 2>/dev/null; IFS= read -r -t 5 line <&3; echo "$line"`

const directly = (address: string, port: number): string =>
  `exec 3<>/dev/tcp/${address}/${port} && { echo hello >&3; IFS= read -r -t 5 line <&3; echo "REACHED $line"; }`

const TO_THE_API = ['127.0.0.1', '::1', '0.0.0.0', MACHINE, OTHER_ADDRESS, 'localhost']
  .map((address) => `(${directly(address, 8000)}) 2>/dev/null`)
  .join('; ')

const HOSTS = {
  allow: ['host.test', '*.other.test', 'loopback.test:8000', 'machine.test:8000', 'private.test'],
}

describe.skipIf(isMissing('bwrap') || isMissing('ip'))('in a network with one host', () => {
  let outcomes: Readonly<Record<string, Outcome>> = {}
  beforeAll(async () => {
    outcomes = await inWorld({
      nothing: { network: 'none', script: `${directly(HOST, 443)}; ${TO_THE_API}; ls /run` },
      allowed: { network: HOSTS, script: through('host.test:443') },
      'another host': { network: HOSTS, script: through('elsewhere.test:443') },
      'another port': { network: HOSTS, script: through('host.test:22') },
      'an address': { network: HOSTS, script: through(`${HOST}:443`) },
      'the API': {
        network: HOSTS,
        script: `${through('loopback.test:8000')}; ${through('machine.test:8000')}; ${through('127.0.0.1:8000')}; ${TO_THE_API}`,
      },
      private: { network: HOSTS, script: through('private.test:443') },
      'past the proxy': { network: HOSTS, script: directly(HOST, 443) },
      'plain HTTP': {
        network: HOSTS,
        script: `exec 3<>/dev/tcp/127.0.0.1/3128; printf 'GET http://host.test/ HTTP/1.1\\r\\nHost: host.test\\r\\n\\r\\n' >&3; cat <&3`,
      },
      many: {
        network: HOSTS,
        script: `for n in $(seq 230); do (${through('no.test:443')}) >/dev/null; done`,
      },
      variables: { network: HOSTS, script: 'echo $https_proxy $HTTP_PROXY' },
    })
  }, 60_000)
  const payloads = (name: string) => outcomes[name]?.notices.map(({ payload }) => payload)

  test('a command without a network reaches nothing', () => {
    expect(outcomes.nothing?.output).not.toMatch(/REACHED|CANARY|proxy/)
    expect(payloads('nothing')).toEqual([])
  })

  test('a command reaches a host of its list, and the connection is reported with its bytes', () => {
    expect(outcomes.allowed?.output).toBe('HTTP/1.1 200 Connection established\r\nHOST hello\n')
    expect(outcomes.allowed?.notices).toEqual([
      {
        kind: 'network_connection',
        payload: {
          host: 'host.test',
          port: 443,
          allowed: true,
          reason: null,
          bytes_in: 11,
          bytes_out: 6,
        },
      },
    ])
    expect(outcomes.variables?.output).toBe('http://127.0.0.1:3128 http://127.0.0.1:3128\n')
  })

  test.each(['another host', 'another port', 'an address'])(
    'a command does not reach %s',
    (name) => {
      expect(outcomes[name]?.output).toContain('HTTP/1.1 403')
      expect(payloads(name)).toMatchObject([
        { allowed: false, reason: expect.stringContaining('This run may not reach'), bytes_out: 0 },
      ])
    },
  )

  test('a name of the list that leads to a private address is refused', () => {
    expect(outcomes.private?.output).toContain('HTTP/1.1 403')
    const reason =
      'private.test leads to 192.168.7.7, which is not an address of the public Internet'
    expect(payloads('private')).toMatchObject([{ allowed: false, reason }])
  })

  test('a command reaches the API by no name and no address', () => {
    expect(outcomes['the API']?.output).not.toMatch(/REACHED|CANARY|200/)
    expect(payloads('the API')?.map(({ allowed }) => allowed)).toEqual([false, false, false])
  })

  test('a command reaches nothing without the proxy', () => {
    expect(outcomes['past the proxy']?.output).not.toContain('REACHED')
  })

  test('a plain request is refused with an explanation', () => {
    expect(outcomes['plain HTTP']?.output).toMatch(
      /^HTTP\/1.1 405 [\s\S]*Only connections with CONNECT/,
    )
    expect(payloads('plain HTTP')).toMatchObject([{ host: 'host.test', port: 80, allowed: false }])
  })

  test('if there are many connections, the last are reported as one sum', () => {
    const all = payloads('many') ?? []
    expect(all).toHaveLength(201)
    expect(all.at(-1)).toMatchObject({ host: '*', allowed: false, connections: 30 })
  })
})

/** The user of the server and the owner of the project. A user who is not root can try only one. */
const USERS: readonly (readonly [name: string, users: { uid?: number; owner?: number }])[] = [
  ['root', {}],
  ...(isRoot
    ? ([
        ['an ordinary user', { uid: 1500 }],
        ['root with a project of another user', { owner: 1500 }],
      ] as const)
    : []),
]

describe.skipIf(isMissing('bwrap') || isMissing('ip') || isMissing('pasta'))(
  'with the whole network',
  () => {
    test.each(USERS)('a command of %s reaches everything but the API', async (_, users) => {
      const script = `${directly(HOST, 443)}; ${TO_THE_API}; grep nameserver /etc/resolv.conf`
      const { whole } = await inWorld({ whole: { network: 'full', script } }, users)
      expect(whole?.output).toBe('REACHED HOST hello\nnameserver 169.254.1.1\n')
      const found = (whole?.notices ?? []).map(({ payload }) => payload)
      expect(found).toContainEqual({
        host: HOST,
        port: 443,
        allowed: true,
        reason: null,
        bytes_in: null,
        bytes_out: null,
        protocol: 'tcp',
      })
      const { bytes_in, bytes_out } = found.at(-1) ?? {}
      expect(found.at(-1)).toMatchObject({ host: '*', port: 0 })
      expect([bytes_in, bytes_out].every((bytes) => Number(bytes) > 100)).toBe(true)
    })
  },
)

test('if a program for the whole network is missing, the message says what to install', () => {
  const problem = networkProblem({ ip: '/bin/ip', nsenter: '/bin/nsenter' })
  expect(problem).toMatch(/^The network "full" needs pasta,.*apt-get install passt/)
})
