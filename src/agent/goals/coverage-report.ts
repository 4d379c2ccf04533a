import { XMLParser } from 'fast-xml-parser'
import { err, ok, type Result } from 'neverthrow'
import * as z from 'zod'
import { oneLine } from './text.ts'

/** How much of a project its tests have run, and the files with the most that they have not. */
export type Coverage = {
  readonly percent: number
  /** The files with the lowest percentage first; none if the report does not list files. */
  readonly files: readonly { readonly name: string; readonly percent: number }[]
}

const percent = z.number()
const counts = z.object({ total: z.number(), covered: z.number() })

/** `coverage-summary.json` of c8, nyc, jest and vitest: `total`, and an entry for each file. */
const Summary = z
  .object({ total: z.object({ lines: counts }) })
  .catchall(z.object({ lines: counts }))
/** `coverage json` of coverage.py and pytest-cov. */
const CoveragePy = z.object({
  totals: z.object({ percent_covered: percent, num_statements: z.number().optional() }),
  files: z.record(z.string(), z.object({ summary: z.object({ percent_covered: percent }) })),
})
/** `cargo llvm-cov --json`. */
const Lines = z.object({ lines: z.object({ count: z.number(), covered: z.number() }) })
const LlvmCov = z.object({
  data: z.tuple([
    z.object({
      totals: Lines,
      files: z.array(z.object({ filename: z.string(), summary: Lines })).default([]),
    }),
  ]),
})
/** `coverage.xml` in the format of Cobertura. */
const Cobertura = z.object({
  coverage: z.object({
    'line-rate': z.coerce.number(),
    'lines-valid': z.coerce.number().optional(),
  }),
})

/** `percent` is null if the report counts no lines at all. */
type Report = Omit<Coverage, 'percent'> & { readonly percent: number | null }

const share = (covered: number, total: number): number | null =>
  total === 0 ? null : (100 * covered) / total

const ratio = (covered: number, total: number): number => share(covered, total) ?? 100

function fromJson(value: unknown): Report | null {
  const summary = Summary.safeParse(value).data
  if (summary !== undefined) {
    const { total, ...files } = summary
    return {
      percent: share(total.lines.covered, total.lines.total),
      files: Object.entries(files).map(([name, { lines }]) => {
        return { name, percent: ratio(lines.covered, lines.total) }
      }),
    }
  }
  const python = CoveragePy.safeParse(value).data
  if (python !== undefined) {
    const { percent_covered, num_statements } = python.totals
    return {
      percent: num_statements === 0 ? null : percent_covered,
      files: Object.entries(python.files).map(([name, file]) => {
        return { name, percent: file.summary.percent_covered }
      }),
    }
  }
  const llvm = LlvmCov.safeParse(value).data?.data[0]
  if (llvm === undefined) return null
  const { lines: total } = llvm.totals
  return {
    percent: share(total.covered, total.count),
    files: llvm.files.map(({ filename, summary: { lines } }) => ({
      name: filename,
      percent: ratio(lines.covered, lines.count),
    })),
  }
}

type Tally = { covered: number; total: number }

/** Adds what each file has, and all together. */
function sumOf(files: ReadonlyMap<string, Tally>): Report {
  const all = [...files]
  const sum = (field: keyof Tally) => all.reduce((total, [, tally]) => total + tally[field], 0)
  return {
    percent: share(sum('covered'), sum('total')),
    files: all.map(([name, { covered, total }]) => ({ name, percent: ratio(covered, total) })),
  }
}

/** lcov: `SF:` names a file; `LF:` and `LH:` count its lines, and those that were run. Some write only each line, as `DA:`. */
function fromLcov(text: string): Report {
  const files = new Map<string, Tally>()
  for (const record of text.split(/^SF:/m).slice(1)) {
    const [name = ''] = record.split(/\r?\n/, 1)
    const lines = [...record.matchAll(/^DA:\d+,(\d+)/gm)]
    const run = lines.filter(([, times]) => Number(times) > 0)
    const tally = files.get(name) ?? { covered: 0, total: 0 }
    tally.total += Number(/^LF:(\d+)/m.exec(record)?.[1] ?? lines.length)
    tally.covered += Number(/^LH:(\d+)/m.exec(record)?.[1] ?? run.length)
    files.set(name, tally)
  }
  return sumOf(files)
}

/** A profile of Go: `file.go:1.2,3.4 statements count`. If several packages run a block, it appears several times. */
function fromGoProfile(lines: readonly string[]): Report {
  const blocks = new Map<string, { name: string; statements: number; isRun: boolean }>()
  for (const line of lines) {
    const [, block, name, statements, count] = /^((\S+):[\d.,]+) (\d+) (\d+)$/.exec(line) ?? []
    if (block === undefined || name === undefined) continue
    const isRun = Number(count) > 0 || (blocks.get(block)?.isRun ?? false)
    blocks.set(block, { name, statements: Number(statements), isRun })
  }
  const files = new Map<string, Tally>()
  for (const { name, statements, isRun } of blocks.values()) {
    const tally = files.get(name) ?? { covered: 0, total: 0 }
    tally.total += statements
    tally.covered += isRun ? statements : 0
    files.set(name, tally)
  }
  return sumOf(files)
}

function read(text: string): Report | null {
  if (text.startsWith('{')) return fromJson(JSON.parse(text))
  if (text.startsWith('<')) {
    const parser = new XMLParser({ ignoreAttributes: false, attributeNamePrefix: '' })
    const report = Cobertura.safeParse(parser.parse(text)).data
    if (report === undefined) return null
    const { 'line-rate': rate, 'lines-valid': lines } = report.coverage
    return { percent: lines === 0 ? null : 100 * rate, files: [] }
  }
  if (text.startsWith('mode:')) return fromGoProfile(text.split(/\r?\n/))
  return /^SF:/m.test(text) ? fromLcov(text) : null
}

/** Reads a report of coverage by its content; the error is for people. */
export function parseCoverage(text: string): Result<Coverage, string> {
  try {
    const report = read(text.trimStart())
    if (report?.percent === null) return err('it counts no lines of code')
    if (report === null || !Number.isFinite(report.percent)) {
      return err(
        'it is not a coverage-summary.json, coverage.json, coverage.xml, lcov file or Go profile',
      )
    }
    const { percent, files } = report
    return ok({ percent, files: files.toSorted((a, b) => a.percent - b.percent) })
  } catch (cause) {
    return err(oneLine(`${cause}`))
  }
}
