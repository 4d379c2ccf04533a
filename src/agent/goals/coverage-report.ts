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
  totals: z.object({ percent_covered: percent }),
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
const Cobertura = z.object({ coverage: z.object({ 'line-rate': z.coerce.number() }) })

const ratio = (covered: number, total: number): number =>
  total === 0 ? 100 : (100 * covered) / total

function fromJson(value: unknown): Coverage | null {
  const summary = Summary.safeParse(value).data
  if (summary !== undefined) {
    const { total, ...files } = summary
    return {
      percent: ratio(total.lines.covered, total.lines.total),
      files: Object.entries(files).map(([name, { lines }]) => {
        return { name, percent: ratio(lines.covered, lines.total) }
      }),
    }
  }
  const python = CoveragePy.safeParse(value).data
  if (python !== undefined) {
    return {
      percent: python.totals.percent_covered,
      files: Object.entries(python.files).map(([name, file]) => {
        return { name, percent: file.summary.percent_covered }
      }),
    }
  }
  const llvm = LlvmCov.safeParse(value).data?.data[0]
  if (llvm === undefined) return null
  const of = ({ lines }: z.infer<typeof Lines>): number => ratio(lines.covered, lines.count)
  return {
    percent: of(llvm.totals),
    files: llvm.files.map(({ filename, summary: lines }) => ({
      name: filename,
      percent: of(lines),
    })),
  }
}

type Tally = { covered: number; total: number }

/** Adds what each file has, and all together. */
function sumOf(files: ReadonlyMap<string, Tally>): Coverage {
  const all = [...files]
  const sum = (field: keyof Tally) => all.reduce((total, [, tally]) => total + tally[field], 0)
  return {
    percent: ratio(sum('covered'), sum('total')),
    files: all.map(([name, { covered, total }]) => ({ name, percent: ratio(covered, total) })),
  }
}

/** lcov: `SF:` names a file; `LF:` and `LH:` count its lines, and those that were run. */
function fromLcov(lines: readonly string[]): Coverage {
  const files = new Map<string, Tally>()
  let tally: Tally = { covered: 0, total: 0 }
  for (const line of lines) {
    const value = line.slice(3)
    if (line.startsWith('SF:')) {
      tally = files.get(value) ?? { covered: 0, total: 0 }
      files.set(value, tally)
    } else if (line.startsWith('LF:')) tally.total += Number(value)
    else if (line.startsWith('LH:')) tally.covered += Number(value)
  }
  return sumOf(files)
}

/** A profile of Go: `file.go:1.2,3.4 statements count`. If several packages run a block, it appears several times. */
function fromGoProfile(lines: readonly string[]): Coverage {
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

function read(text: string): Coverage | null {
  if (text.startsWith('{')) return fromJson(JSON.parse(text))
  if (text.startsWith('<')) {
    const parser = new XMLParser({ ignoreAttributes: false, attributeNamePrefix: '' })
    const report = Cobertura.safeParse(parser.parse(text)).data
    return report === undefined ? null : { percent: 100 * report.coverage['line-rate'], files: [] }
  }
  const lines = text.split(/\r?\n/)
  if (text.startsWith('mode:')) return fromGoProfile(lines)
  return lines.some((line) => line.startsWith('SF:')) ? fromLcov(lines) : null
}

/** Reads a report of coverage by its content; the error is for people. */
export function parseCoverage(text: string): Result<Coverage, string> {
  try {
    const coverage = read(text.trimStart())
    if (coverage === null || !Number.isFinite(coverage.percent)) {
      return err(
        'it is not a coverage-summary.json, coverage.json, coverage.xml, lcov file or Go profile',
      )
    }
    return ok({ ...coverage, files: coverage.files.toSorted((a, b) => a.percent - b.percent) })
  } catch (cause) {
    return err(oneLine(`${cause}`))
  }
}
