import type { RunRecord } from '../domain/records.ts'

/** What all records of runs amount to. The second part of each name is a kind, or a model. */
type TotalName = `records/${string}` | `${'input' | 'output' | 'cost'}/${string}`
export type Totals = Readonly<Record<TotalName, number>>

/** Adds a record. In the order of the log, so that the sum of the costs is the same each time. */
export function addTo(totals: Record<TotalName, number>, { kind, payload }: RunRecord): void {
  const add = (name: TotalName, more: number): void => {
    totals[name] = (totals[name] ?? 0) + more
  }
  add(`records/${kind}`, 1)
  if (kind !== 'llm_usage') return
  const { model_name: model, input_tokens, output_tokens, cost_usd } = payload
  add(`input/${model}`, input_tokens)
  add(`output/${model}`, output_tokens)
  add(`cost/${model}`, cost_usd ?? 0)
}
