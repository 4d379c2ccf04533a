import { expect, test } from 'vitest'
import { seccompProgram } from '../../src/sandbox/seccomp.ts'

const X64 = 0xc000_003e
const ARM64 = 0xc000_00b7
const ALLOW = 'allow'
const EPERM = 'errno 1'
const ENOSYS = 'errno 38'
const EAFNOSUPPORT = 'errno 97'

type Call = { readonly number: number; readonly args?: readonly number[]; readonly arch?: number }

/** What the kernel would do: an interpreter of the few instructions that the filter has. */
function decide(program: Buffer, { number, args = [], arch = X64 }: Call): string {
  const data = Buffer.alloc(64)
  data.writeUInt32LE(number, 0)
  data.writeUInt32LE(arch, 4)
  for (const [index, value] of args.entries()) data.writeUInt32LE(value, 16 + 8 * index)
  let value = 0
  for (let at = 0; ; at += 1) {
    const code = program.readUInt16LE(8 * at)
    const k = program.readUInt32LE(8 * at + 4)
    const [ifTrue, ifFalse] = [program.readUInt8(8 * at + 2), program.readUInt8(8 * at + 3)]
    if (code === 0x20) value = data.readUInt32LE(k)
    else if (code === 0x15) at += value === k ? ifTrue : ifFalse
    else if (code === 0x35) at += value >= k ? ifTrue : ifFalse
    else if (code === 0x45) at += (value & k) === 0 ? ifFalse : ifTrue
    else if (code === 0x06) {
      if (k === 0x7fff_0000) return ALLOW
      return k === 0x8000_0000 ? 'kill' : `errno ${k & 0xffff}`
    } else throw new Error(`instruction ${code}`)
  }
}

test.each<readonly [string, Call, string]>([
  ['read', { number: 0 }, ALLOW],
  ['ptrace', { number: 101 }, ALLOW],
  ['mount', { number: 165 }, EPERM],
  ['bpf', { number: 321 }, EPERM],
  ['clone3', { number: 435 }, ENOSYS],
  ['a call of the x32 ABI', { number: 0x4000_0000 + 39 }, ENOSYS],
  ['a call of another processor', { number: 0, arch: 0x4000_0003 }, 'kill'],
  ['a thread', { number: 56, args: [0x3d0f00] }, ALLOW],
  ['a user namespace', { number: 56, args: [0x1000_0011] }, EPERM],
  ['a network namespace', { number: 56, args: [0x4000_0011] }, EPERM],
  ['the size of a terminal', { number: 16, args: [0, 0x5413] }, ALLOW],
  ['TIOCSTI', { number: 16, args: [0, 0x5412] }, EPERM],
  ['a Unix socket', { number: 41, args: [1, 1, 0] }, ALLOW],
  ['an internet socket', { number: 41, args: [2, 1, 0] }, ALLOW],
  ['a packet socket', { number: 41, args: [17, 3, 0] }, EAFNOSUPPORT],
  ['a list of addresses', { number: 41, args: [16, 3, 0] }, ALLOW],
  ['the audit socket', { number: 41, args: [16, 3, 9] }, EPERM],
  ['chmod 755', { number: 90, args: [0, 0o755] }, ALLOW],
  ['chmod 4755', { number: 90, args: [0, 0o4755] }, EPERM],
  ['open for reading, with any mode', { number: 2, args: [0, 0, 0o4755] }, ALLOW],
  ['open that creates a set-id file', { number: 2, args: [0, 0o101, 0o4755] }, EPERM],
  ['openat that creates a file', { number: 257, args: [0, 0, 0o101, 0o644] }, ALLOW],
])('on x64, %s', (_, call, decision) => {
  const program = seccompProgram({ network: true }, 'x64') ?? Buffer.alloc(0)
  expect(decide(program, call)).toBe(decision)
})

test('on arm64 the numbers are those of arm64', () => {
  const program = seccompProgram({ network: true }, 'arm64') ?? Buffer.alloc(0)
  const of = (number: number, ...args: readonly number[]) =>
    decide(program, { number, args, arch: ARM64 })
  expect([of(40), of(165), of(220, 0x1000_0011), of(198, 17), of(52, 0, 0o4755)]).toEqual([
    EPERM,
    ALLOW,
    EPERM,
    EAFNOSUPPORT,
    EPERM,
  ])
})

test('without a network of its own, a command makes no socket', () => {
  const program = seccompProgram({ network: false }, 'x64') ?? Buffer.alloc(0)
  const families = [1, 2, 10].map((family) => decide(program, { number: 41, args: [family, 1, 0] }))
  expect(families).toEqual([EAFNOSUPPORT, EAFNOSUPPORT, EAFNOSUPPORT])
})

test('without namespaces of its own, a command has no shared memory and no queues', () => {
  const program = (network: boolean) => seccompProgram({ network }, 'x64') ?? Buffer.alloc(0)
  const calls = [29, 30, 64, 65, 68, 69, 70, 240].map((number) => ({ number }))
  expect(new Set(calls.map((call) => decide(program(false), call)))).toEqual(new Set([EPERM]))
  expect(new Set(calls.map((call) => decide(program(true), call)))).toEqual(new Set([ALLOW]))
})

test('there is no program for other processors', () => {
  expect(seccompProgram({ network: true }, 'riscv64')).toBeNull()
})
