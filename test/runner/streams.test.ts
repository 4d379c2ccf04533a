import { Readable } from 'node:stream'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { processMask } from '../../src/masking/process-mask.ts'
import { collectOutput } from '../../src/runner/streams.ts'
import { FAKES, KEEPING, pem } from '../masking/fakes.ts'

const endless = () => new Readable({ objectMode: true, read() {} })
const LIMITS = { maxTotalBytes: Number.POSITIVE_INFINITY, onTooMuch: () => {} }

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
  for (const [crumb, isPaused] of [
    ['ey', false],
    ['J', true],
  ] as const) {
    const seen = nextData(stdout)
    stdout.push(Buffer.from(crumb))
    await seen
    expect(stdout.isPaused()).toBe(isPaused)
  }
  for (const crumb of 'of no importance') stdout.push(Buffer.from(crumb))
  expect(await end()).toBe('eyJof no importance')
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

/** An output that is longer than what is kept, and the sizes of the chunks that it comes in. */
const flood = fc.record({
  lines: fc.array(line, { minLength: 100, maxLength: 300 }),
  isOneLine: fc.boolean(),
  sizes: fc.array(fc.integer({ min: 1_000, max: 65_536 }), { minLength: 1, maxLength: 5 }),
  maxBytes: fc.integer({ min: 10, max: 100_000 }),
})

test('of a flood, what is kept is the beginning and the end of the whole masked text', async () => {
  await fc.assert(
    fc.asyncProperty(flood, async ({ lines, isOneLine, sizes, maxBytes }) => {
      const once = `${lines.join(isOneLine ? ' ' : '\n')}\n`
      const bytes = Buffer.from(once.repeat(Math.ceil(MIB / 4 / once.length)))
      const streams = { stdout: endless(), stderr: endless() }
      const output = collectOutput(streams, maxBytes, LIMITS)
      for (let at = 0, n = 0; at < bytes.length; n += 1) {
        const chunk = bytes.subarray(at, at + (sizes[n % sizes.length] ?? 1))
        at += chunk.length
        streams.stdout.push(chunk)
      }
      streams.stdout.push(null)
      streams.stderr.push(null)
      await output.closed
      expect(output.bytes()).toBe(bytes.length)
      const whole = processMask.text(bytes.toString())
      for (const kept of [output.stdout.text(), output.both.text()]) {
        const [head = '', dropped, tail = ''] = kept.split(DROPPED)
        expect(whole.startsWith(head)).toBe(true)
        expect(whole.endsWith(tail)).toBe(true)
        expect(dropped === undefined).toBe(kept === whole)
        const bytes = Buffer.byteLength(head + tail)
        expect(bytes).toBeLessThanOrEqual(maxBytes)
        if (dropped === undefined) continue
        expect(bytes + Number(dropped)).toBe(Buffer.byteLength(whole))
        // Each end loses less than one character.
        expect(bytes).toBeGreaterThanOrEqual(maxBytes - 6)
      }
    }),
    { numRuns: 12, endOnFailure: true },
  )
}, 120_000)
