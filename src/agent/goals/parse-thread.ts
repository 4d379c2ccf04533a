import { parentPort, workerData } from 'node:worker_threads'
import type { Result } from 'neverthrow'
import * as z from 'zod'
import { parseCoverage } from './coverage-report.ts'
import { parseJUnit } from './junit.ts'
import { parseCargoTest, parseGoTest, parsePyright } from './tool-output.ts'

/** A result in the form that passes between threads. */
export type Plain<T> = { readonly value: T } | { readonly problem: string }

const plain = <T>(result: Result<T, string>): Plain<T> =>
  result.match<Plain<T>>(
    (value) => ({ value }),
    (problem) => ({ problem }),
  )

const parsers = {
  junit: ([xml = '']: Texts) => plain(parseJUnit(xml)),
  pyright: ([stdout = '']: Texts) => plain(parsePyright(stdout)),
  goTest: ([stdout = '']: Texts) => parseGoTest(stdout),
  coverage: ([text = '']: Texts) => plain(parseCoverage(text)),
  cargoTest: ([stdout = '', stderr = '']: Texts) => parseCargoTest(stdout, stderr),
}
type Texts = readonly string[]
export type ParserName = keyof typeof parsers
export type Parsed<Name extends ParserName> = ReturnType<(typeof parsers)[Name]>

const Job = z.object({
  name: z.enum(['junit', 'pyright', 'goTest', 'cargoTest', 'coverage']),
  texts: z.array(z.string()),
})

const { name, texts } = Job.parse(workerData)
parentPort?.postMessage(parsers[name](texts))
