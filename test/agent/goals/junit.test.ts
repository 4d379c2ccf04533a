import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type JUnitCase, parseJUnit, summarize } from '../../../src/agent/goals/junit.ts'
import { judgeTests } from '../../../src/agent/goals/test-summary.ts'
import { exited, fixture } from './support.ts'

const entities = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', '\n': '&#10;' }
const escaped = (text: string): string =>
  Object.entries(entities).reduce((all, [from, to]) => all.replaceAll(from, to), text)

const tags = { passed: '', failed: 'failure', skipped: 'skipped' }

function caseXml({ suite, name, outcome, title }: JUnitCase): string {
  const tag = tags[outcome]
  const inner = tag === '' ? '' : `<${tag} message="${escaped(title)}">${escaped(title)}</${tag}>`
  return `<testcase classname="${escaped(suite)}" name="${escaped(name)}" time="0.1">${inner}</testcase>`
}

const Name = fc.stringMatching(/^[a-z_<&"\]]{1,12}$/)
const Case: fc.Arbitrary<JUnitCase> = fc.record({
  suite: Name,
  name: Name,
  outcome: fc.constantFrom('passed', 'failed', 'skipped'),
  type: fc.constant(''),
  title: fc.stringMatching(/^[ -~]{0,20}$/),
  message: fc.constant(''),
})

describe('a JUnit report', () => {
  const Cases = fc.array(Case, { maxLength: 30 })

  test('gives every case, however its suites are nested', () => {
    fc.assert(
      fc.property(Cases, Cases, (outer, inner) => {
        const nested = `<testsuite name="inner">${inner.map(caseXml).join('\n')}</testsuite>`
        const xml = `<?xml version="1.0"?><testsuites><testsuite name="outer">${outer.map(caseXml).join('')}${nested}</testsuite></testsuites>`
        const brief = ({ suite, name, outcome }: JUnitCase) => ({ suite, name, outcome })
        const read = parseJUnit(xml)._unsafeUnwrap()
        expect(read.map(brief)).toEqual([...outer, ...inner].map(brief))
      }),
    )
  })

  test('gives a reason with consistent numbers', () => {
    fc.assert(
      fc.property(Cases, fc.constantFrom(0, 1), (cases, exitCode) => {
        const xml = `<testsuites><testsuite>${cases.map(caseXml).join('')}</testsuite></testsuites>`
        const summary = summarize(parseJUnit(xml)._unsafeUnwrap())
        const ended = exited(exitCode, 'the end')
        const run = { tool: 'tool', unit: 'file', noTests: 'look elsewhere', ended }
        const { verdict, reason } = judgeTests(summary, run)
        const of = (outcome: string) => cases.filter((item) => item.outcome === outcome).length
        const [passed, failed, skipped] = [of('passed'), of('failed'), of('skipped')]

        expect(verdict === 'achieved').toBe(passed > 0 && failed === 0 && exitCode === 0)
        expect(Number(/(\d+) skipped/.exec(reason)?.[1] ?? 0)).toBe(skipped)
        if (failed > 0) {
          const [, some, all] = /^(\d+) of (\d+) tests? failing: /.exec(reason) ?? []
          expect([Number(some), Number(all)]).toEqual([failed, passed + failed])
          const more = Number(/ and (\d+) more/.exec(reason)?.[1] ?? 0)
          expect(more).toBe(Math.max(0, failed - 5))
        } else if (passed > 0) {
          expect(Number(/^(?:All )?(\d+) tests? passed/.exec(reason)?.[1])).toBe(passed)
        } else {
          expect(reason).toMatch(/^No test (?:was run|passed)/)
        }
      }),
    )
  })

  test('that is cut off is refused', async () => {
    const xml = (await fixture('bun-test.xml')).trimEnd()
    fc.assert(
      fc.property(fc.integer({ min: 1, max: xml.length - 1 }), (length) => {
        expect(parseJUnit(xml.slice(0, length)).isErr()).toBe(true)
      }),
    )
  })

  test('is read or refused, whatever its text is; reading it never throws', () => {
    const Piece = fc.constantFrom(
      '<testsuites>',
      '</testsuites>',
      '<testsuite>',
      '<testcase name="a"/>',
    )
    const Text = fc.oneof(fc.string(), fc.array(fc.oneof(Piece, fc.string()), { maxLength: 6 }))
    fc.assert(
      fc.property(Text, (text) => {
        const xml = Array.isArray(text) ? text.join('') : text
        expect(() => parseJUnit(xml)).not.toThrow()
      }),
    )
  })

  test.each([
    [
      'a testcase that is no element',
      '<testsuites><testsuite><testcase>text</testcase></testsuite></testsuites>',
      0,
    ],
    ['a bare testsuite', '<testsuite><testcase name="a"/></testsuite>', 1],
    ['no suites', '<testsuites/>', 0],
  ])('with %s', (_what, xml, count) => {
    expect(parseJUnit(xml)._unsafeUnwrap()).toHaveLength(count)
  })
})
