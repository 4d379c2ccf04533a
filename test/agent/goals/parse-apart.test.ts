import { performance } from 'node:perf_hooks'
import { expect, test } from 'vitest'
import { parseApart } from '../../../src/agent/goals/parse-apart.ts'

const never = new AbortController().signal
const MIB = 1024 * 1024

test('the result of a parser is returned', async () => {
  const xml = '<testsuite><testcase name="a" classname="b"/></testsuite>'
  const junit = await parseApart('junit', [xml], never)
  expect(junit._unsafeUnwrap()).toMatchObject({ value: [{ name: 'a', outcome: 'passed' }] })
  const torn = await parseApart('junit', ['<testsuite>'], never)
  expect(torn._unsafeUnwrap()).toEqual({ problem: expect.stringContaining('line 1') })
  const cargo = await parseApart(
    'cargoTest',
    ['test result: ok. 1 passed; 0 failed; 0 ignored;', ''],
    never,
  )
  expect(cargo._unsafeUnwrap().summary).toMatchObject({ passed: 1 })
})

test('a report that takes too long to read is given up, and other work continues meanwhile', async () => {
  // The XML library is slow with attributes that have no value.
  const hostile = `<testsuite a="1" ${'b '.repeat(4 * MIB)}></testsuite>`
  let turns = 0
  const timer = setInterval(() => turns++, 10)
  const result = await parseApart('junit', [hostile], never, 1_000)
  clearInterval(timer)
  expect(result._unsafeUnwrapErr()).toBe('reading it took more than 1 s')
  expect(turns).toBeGreaterThan(5)
})

test('reading a report ends when the run is aborted', async () => {
  const stop = new AbortController()
  const begun = performance.now()
  const reading = parseApart(
    'junit',
    [`<testsuite a="1" ${'b '.repeat(4 * MIB)}></testsuite>`],
    stop.signal,
  )
  stop.abort()
  expect((await reading).isErr()).toBe(true)
  expect(performance.now() - begun).toBeLessThan(10_000)
})
