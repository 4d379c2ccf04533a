import { useSearchParams } from 'wouter'
import { RUN_SORTS, RUN_STATUSES, type RunSort, type RunStatus } from '../../../src/api/records.ts'
import type { RunQuery } from '../../../src/client/index.ts'

/** What a person has chosen; what is left out is any. The names are those of the API. */
export type Filter = {
  readonly status?: RunStatus | undefined
  readonly sort?: RunSort | undefined
  readonly order?: 'asc' | undefined
  readonly tag?: readonly string[] | undefined
} & { readonly [name in TextName]?: string | undefined }

/** The filters that are a text. */
const TEXT_NAMES = [
  'q',
  'goal',
  'project',
  'model',
  'principal',
  'from',
  'to',
  'min_cost_usd',
  'max_cost_usd',
] as const
export type TextName = (typeof TEXT_NAMES)[number]

const oneOf = <T extends string>(all: readonly T[], text: string | null): T | undefined =>
  all.find((each) => each === text)

function filterIn(params: URLSearchParams): Filter {
  const texts = TEXT_NAMES.map((name) => [name, params.get(name) || undefined] as const)
  const tags = params.getAll('tag')
  return {
    ...Object.fromEntries(texts),
    status: oneOf(RUN_STATUSES, params.get('status')),
    sort: oneOf(RUN_SORTS, params.get('sort')),
    order: oneOf(['asc'], params.get('order')),
    tag: tags.length > 0 ? tags : undefined,
  }
}

/** Any run, in the order that is chosen. */
export const NO_FILTER: Partial<Filter> = {
  ...Object.fromEntries(TEXT_NAMES.map((name) => [name, undefined])),
  status: undefined,
  tag: undefined,
}

/** Whether anything but the order is chosen. */
export const isFiltered = ({ sort: _, order: __, ...filter }: Filter): boolean =>
  Object.values(filter).some((value) => value !== undefined)

/** The query for a filter. Sub-agents are folded into their parents unless somebody looks for certain runs. */
export function queryFor({ from, to, min_cost_usd, max_cost_usd, ...filter }: Filter): RunQuery {
  const { status, q } = filter
  return {
    ...filter,
    // A day as a person means it, in their time zone.
    ...(from !== undefined && { from: timeOf(from, 0) }),
    ...(to !== undefined && { to: timeOf(to, 1) }),
    ...(min_cost_usd !== undefined && { min_cost_usd: Number(min_cost_usd) }),
    ...(max_cost_usd !== undefined && { max_cost_usd: Number(max_cost_usd) }),
    ...(status === undefined && q === undefined && { top: true }),
  }
}

/** The beginning of a day, or so many days later. What is no day stays: the server takes a time, and says what is wrong. */
function timeOf(text: string, daysLater: number): string {
  const date = new Date(`${text}T00:00`)
  date.setDate(date.getDate() + daysLater)
  return Number.isNaN(date.getTime()) ? text : date.toISOString()
}

/** The filter of the list, kept in the address, so that a view of the list can be shared and found again. */
export function useFilter(): readonly [Filter, (changes: Partial<Filter>) => void] {
  const [params, setParams] = useSearchParams()
  const filter = filterIn(params)
  const change = (changes: Partial<Filter>): void => {
    const next = new URLSearchParams()
    for (const [name, value] of Object.entries({ ...filter, ...changes })) {
      for (const each of [value].flat()) if (each !== undefined) next.append(name, each)
    }
    setParams(next, { replace: 'q' in changes })
  }
  return [filter, change]
}
