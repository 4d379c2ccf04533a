import { expect, test } from 'vitest'
import { type Connection, FlowReader } from '../../../src/sandbox/network/connection.ts'

/** What pasta of Debian 13 logs with `--debug`. */
const LOG = `0.0130: Template interface: eth0 (IPv4), eth0 (IPv6)
1.0082: Flow 0 (NEW): FREE -> NEW
1.0082: Flow 0 (INI): NEW -> INI
1.0082: Flow 0 (INI): TAP [192.0.2.2]:48558 -> [10.0.0.1]:443 => ?
1.0082: Flow 0 (TGT): INI -> TGT
1.0082: Flow 0 (TGT): TAP [192.0.2.2]:48558 -> [10.0.0.1]:443 => HOST [0.0.0.0]:0 -> [10.0.0.1]:443
1.0082: Flow 0 (TCP connection): TGT -> TYPED
1.0082: Flow 0 (TCP connection): TYPED -> ACTIVE
1.0085: Flow 1 (INI): NEW -> INI
1.0085: Flow 1 (INI): TAP [fd00::2]:49607 -> [2001:db8::1]:53 => ?
1.0086: Flow 1 (UDP flow): TGT -> TYPED
1.0092: Flow 0 (FREE): ACTIVE -> FREE
1.0093: Flow 0 (INI): TAP [192.0.2.2]:1 -> [10.0.0.9]:80 => ?
1.0093: Flow 0 (FREE): INI -> FREE
`
const tcp = { host: '10.0.0.1', port: 443, protocol: 'tcp' }
const udp = { host: '2001:db8::1', port: 53, protocol: 'udp' }
const failed = { host: '10.0.0.9', port: 80, reason: 'It could not be made' }

test('each flow of pasta is a connection, in whatever pieces its log comes', () => {
  for (const size of [1, 7, 100, LOG.length]) {
    const found: Connection[] = []
    const reader = new FlowReader((connection) => found.push(connection))
    for (let at = 0; at < LOG.length; at += size) reader.read(LOG.slice(at, at + size))
    expect(found).toMatchObject([tcp, udp, failed])
    expect(found.every(({ allowed, bytes_in }) => allowed && bytes_in === null)).toBe(true)
  }
})

test('the last line says why pasta ended', () => {
  const reader = new FlowReader(() => {})
  reader.read("0.0130: MAC:\nCouldn't open network namespace: Permission denied\n")
  expect(reader.lastLine).toBe("Couldn't open network namespace: Permission denied")
})
