import { Readable } from 'node:stream'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { processMask } from '../../src/log/masking.ts'
import { collectOutput } from '../../src/runner/collect-output.ts'
import { FAKES, KEEPING, pem } from '../domain/mask/fakes.ts'

const endless = () => new Readable({ read() {} })

function collected() {
  const stdout = endless()
  const stderr = endless()
  const output = collectOutput({ stdout, stderr }, 1000, {
    maxTotalBytes: 1000,
    onTooMuch: () => {},
  })
  const end = async (): Promise<string> => {
    stdout.push(null)
    stderr.push(null)
    await output.closed
    return output.both.text()
  }
  return { stdout, end }
}

const nextData = (stream: Readable): Promise<void> =>
  new Promise((resolve) => stream.once('data', () => resolve()))

test('small pieces of a possible secret are collected before they are checked again', async () => {
  const { stdout, end } = collected()
  const seen = nextData(stdout)
  stdout.push('eyJ')
  await seen
  expect(stdout.isPaused()).toBe(true)
  for (const crumb of 'of no importance') stdout.push(crumb)
  expect(await end()).toBe('eyJof no importance')
})

test('after text that is decided at once, reading continues at once', async () => {
  const { stdout, end } = collected()
  const seen = nextData(stdout)
  stdout.push('a line\n')
  await seen
  expect(stdout.isPaused()).toBe(false)
  expect(await end()).toBe('a line\n')
})

/** Lines of output, many with secrets; the longest keys have many lines. */
const line = fc.oneof(
  { weight: 120, arbitrary: fc.string({ maxLength: 200, unit: 'grapheme' }) },
  { weight: 30, arbitrary: fc.constantFrom(...Object.values(FAKES).flat()) },
  {
    weight: 15,
    arbitrary: fc.constantFrom(...KEEPING.map(([, kept, secret, rest]) => kept + secret + rest)),
  },
  { weight: 2, arbitrary: fc.constantFrom(pem('RSA ', 290), pem('RSA ', 290).slice(0, 12_000)) },
)
const MIB = 1024 * 1024
const DROPPED = /\n\[(\d+) bytes of output are dropped here\]\n/

/** Enough output to drop parts of it unseen, and the sizes of the chunks that it comes in. */
const flood = fc.record({
  lines: fc.array(line, { minLength: 200, maxLength: 400 }),
  isOneLine: fc.boolean(),
  sizes: fc.array(fc.integer({ min: 8_000, max: 65_536 }), { minLength: 1, maxLength: 5 }),
  maxBytes: fc.integer({ min: 10, max: 100_000 }),
})

test('of a flood, what is kept is the beginning and the end of the whole masked text', async () => {
  await fc.assert(
    fc.asyncProperty(flood, async ({ lines, isOneLine, sizes, maxBytes }) => {
      const once = `${lines.join(isOneLine ? ' ' : '\n')}\n`
      const bytes = Buffer.from(once.repeat(Math.ceil((2 * MIB) / once.length)))
      const streams = { stdout: endless(), stderr: endless() }
      const limits = { maxTotalBytes: Number.POSITIVE_INFINITY, onTooMuch: () => {} }
      const output = collectOutput(streams, maxBytes, limits)
      for (let at = 0, n = 0; at < bytes.length; n += 1) {
        const size = sizes[n % sizes.length] ?? 1
        streams.stdout.push(bytes.subarray(at, at + size))
        at += size
      }
      streams.stdout.push(null)
      streams.stderr.push(null)
      await output.closed
      const whole = processMask.text(bytes.toString())
      for (const kept of [output.stdout.text(), output.both.text()]) {
        const [head = '', dropped, tail = ''] = kept.split(DROPPED)
        expect(whole.startsWith(head)).toBe(true)
        expect(whole.endsWith(tail)).toBe(true)
        expect(dropped === undefined).toBe(kept === whole)
        expect(Buffer.byteLength(head + tail)).toBeLessThanOrEqual(maxBytes)
        expect(dropped === undefined || tail !== '').toBe(true)
      }
    }),
    { numRuns: 12, endOnFailure: true },
  )
}, 120_000)

test('a flood on one stream keeps the order of both, and the bytes that it dropped are counted', async () => {
  const streams = { stdout: endless(), stderr: endless() }
  const limits = { maxTotalBytes: Number.POSITIVE_INFINITY, onTooMuch: () => {} }
  const output = collectOutput(streams, 1000, limits)
  const chunk = Buffer.from('0123456789\n'.repeat(3000))
  for (let n = 0; n < 100; n += 1) streams.stdout.push(chunk)
  streams.stdout.push('last but one\n')
  await nextData(streams.stdout)
  streams.stderr.push('last\n')
  streams.stdout.push(null)
  streams.stderr.push(null)
  await output.closed
  const [head = '', dropped, tail = ''] = output.stdout.text().split(DROPPED)
  expect(head.length + Number(dropped) + tail.length).toBe(output.bytes() - 'last\n'.length)
  expect(output.both.text()).toMatch(/last but one\nlast\n$/)
  expect(output.stderr.text()).toBe('last\n')
})
