import { XMLParser, XMLValidator } from 'fast-xml-parser'
import { err, ok, type Result } from 'neverthrow'
import * as z from 'zod'
import type { TestSummary } from './test-summary.ts'
import { oneLine } from './text.ts'

/** One `testcase` of a JUnit report. */
export type JUnitCase = {
  readonly suite: string
  readonly name: string
  readonly outcome: 'passed' | 'failed' | 'skipped'
  /** The `type` of its failure, error or skip: "AssertionError", "pytest.xfail"; '' if not given. */
  readonly type: string
  /** The `message` attribute alone. */
  readonly title: string
  /** Everything in the report about the failure. */
  readonly message: string
}

const LISTS = new Set(['testsuite', 'testcase', 'failure', 'error', 'skipped'])

const parser = new XMLParser({
  ignoreAttributes: false,
  attributeNamePrefix: '',
  parseTagValue: false,
  parseAttributeValue: false,
  trimValues: false,
  // Also decodes numeric entities, such as the line breaks in bun's messages.
  htmlEntities: true,
  isArray: (name, _path, _isLeaf, isAttribute) => !isAttribute && LISTS.has(name),
})

const text = z.string().default('')

/** An element without attributes is parsed to its bare text. */
const element = <S extends z.ZodRawShape>(shape: S) =>
  z.preprocess((value) => (typeof value === 'string' ? { '#text': value } : value), z.object(shape))

const Outcome = element({ '#text': text, message: text, type: text })
type Outcome = z.infer<typeof Outcome>
const outcomes = z.array(Outcome).default([])

const Case = element({
  name: text,
  classname: text,
  failure: outcomes,
  error: outcomes,
  skipped: outcomes,
})
const Suite = element({
  testsuite: z.array(z.unknown()).default([]),
  testcase: z.array(Case).default([]),
})
const Report = z.union([
  z.object({ testsuites: Suite }).transform(({ testsuites }) => testsuites),
  Suite.refine(({ testsuite }) => testsuite.length > 0),
])

function messageOf({ '#text': body, message }: Outcome): string {
  const first = message.split('\n', 1)[0] ?? ''
  return body.includes(first) ? body.trim() : `${message}\n${body}`.trim()
}

function toCase({ name, classname, failure, error, skipped }: z.infer<typeof Case>): JUnitCase {
  const wrong = [...failure, ...error]
  const [first] = wrong.length > 0 ? wrong : skipped
  const outcome = wrong.length > 0 ? 'failed' : first === undefined ? 'passed' : 'skipped'
  return {
    suite: classname,
    name,
    outcome,
    type: first?.type ?? '',
    title: first?.message ?? '',
    message: (wrong.length > 0 ? wrong : skipped).map(messageOf).join('\n\n'),
  }
}

/** Adds the cases of a suite, then those of the suites in it. */
function addCases(cases: JUnitCase[], suite: z.infer<typeof Suite>): void {
  for (const item of suite.testcase) {
    // When pytest is interrupted, it writes a case without a name.
    if (item.name !== '') cases.push(toCase(item))
  }
  for (const inner of suite.testsuite) addCases(cases, Suite.parse(inner))
}

/** Reads the test cases of a JUnit report, in its order; the error gives the problem of the report. */
export function parseJUnit(xml: string): Result<readonly JUnitCase[], string> {
  try {
    // The parser alone accepts unclosed tags: a report that is cut off would silently lose tests.
    const valid = XMLValidator.validate(xml)
    if (valid !== true) return err(`line ${valid.err.line}: ${oneLine(valid.err.msg)}`)
    const report = Report.safeParse(parser.parse(xml))
    if (!report.success) return err('it is not a JUnit report')
    const cases: JUnitCase[] = []
    addCases(cases, report.data)
    return ok(cases)
  } catch (cause) {
    return err(cause instanceof z.ZodError ? 'it is not a JUnit report' : oneLine(`${cause}`))
  }
}

/** Counts the cases of a report, each once. */
export function summarize(cases: readonly JUnitCase[]): TestSummary {
  const failures = cases.filter(({ outcome }) => outcome === 'failed')
  const skipped = cases.filter(({ outcome }) => outcome === 'skipped').length
  return {
    passed: cases.length - failures.length - skipped,
    failed: failures.length,
    skipped,
    expectedFailures: 0,
    failures,
    broken: [],
  }
}
