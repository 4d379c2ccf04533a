import * as z from 'zod'
import { DOCUMENTED_KINDS, type Kind, type RunRecord } from '../../../src/domain/records.ts'
import { RunWriter, type TestServer } from '../../support/server.ts'

const documented: readonly Kind[] = DOCUMENTED_KINDS

export const isDocumented = ({ kind }: Pick<RunRecord, 'kind'>): boolean => {
  return documented.includes(kind)
}

/** Records as JSON carries them, with their seq. */
export function framesOf(records: readonly RunRecord[]) {
  return records.map((record, seq) => JSON.parse(JSON.stringify({ ...record, seq })) as Frame)
}
export type Frame = RunRecord & { readonly seq: number }

/** Writes a whole run in one append. */
export async function writeRun(
  { store }: Pick<TestServer, 'store'>,
  runId: string,
  records: readonly RunRecord[],
): Promise<void> {
  const writer = new RunWriter(store, runId)
  for (let at = 0; at < records.length; at += 200) await writer.append(records.slice(at, at + 200))
}

export type Page = {
  readonly status: number
  readonly frames: readonly Record<string, unknown>[]
  /** Path of the next page. */
  readonly next: string | null
}

/** One JSON page. */
export async function getPage({ url }: Pick<TestServer, 'url'>, path: string): Promise<Page> {
  const answer = await fetch(`${url}${path}`)
  const body: unknown = await answer.json()
  const link = /^<([^>]+)>; rel="next"$/.exec(answer.headers.get('link') ?? '')
  const frames = answer.ok ? z.array(z.record(z.string(), z.unknown())).parse(body) : []
  return { status: answer.status, frames, next: link?.[1] ?? null }
}

/** All pages, beginning with one. */
export async function getPages(server: Pick<TestServer, 'url'>, path: string) {
  const frames: Record<string, unknown>[] = []
  let pages = 0
  for (let next: string | null = path; next !== null; ) {
    const page = await getPage(server, next)
    if (page.status !== 200) throw new Error(`${next} answers ${page.status}`)
    frames.push(...page.frames)
    pages += 1
    next = page.next
  }
  return { frames, pages }
}

/** The lines of an NDJSON answer. */
export async function getLines({ url }: Pick<TestServer, 'url'>, path: string) {
  const answer = await fetch(`${url}${path}`, { headers: { accept: 'application/x-ndjson' } })
  const text = await answer.text()
  return text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Record<string, unknown>)
}

const Problem = z.object({ type: z.string(), status: z.int(), detail: z.string() })

/** The problem of a request: the code, the status, the sentence. */
export async function getProblem(
  { url }: Pick<TestServer, 'url'>,
  path: string,
  headers: Record<string, string> = {},
): Promise<{ readonly code: string; readonly status: number; readonly detail: string }> {
  const answer = await fetch(`${url}${path}`, { headers })
  if (answer.headers.get('content-type') !== 'application/problem+json') {
    throw new Error(`${path} answers ${answer.status} and no problem`)
  }
  const { type, detail } = Problem.parse(await answer.json())
  return { code: type.replace('urn:retrai:problem:', ''), status: answer.status, detail }
}
