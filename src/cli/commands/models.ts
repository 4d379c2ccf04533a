import type { Command } from 'commander'
import { err, ok } from 'neverthrow'
import type { Model } from '../../client/index.ts'
import { type ServerOptions, serverCommand, whenConnected } from '../connection.ts'
import { EXIT } from '../terminal/exit-codes.ts'
import { print, printJson, say, table } from '../terminal/print.ts'

type Options = ServerOptions & { readonly json?: boolean; readonly all?: boolean }

const HEAD = ['MODEL', 'WINDOW', 'OUTPUT', '$/M IN', '$/M CACHED', '$/M OUT', 'EFFORTS', 'NEEDS']

/** `retrai models`: the models that a run can name. */
export function modelsCommand(): Command {
  return serverCommand('models')
    .description('List the models that a run can name. The default comes first, with a star.')
    .option('--all', 'also those that cannot be called, such as those without a key')
    .option('--json', 'print each model as JSON, one a line; implies --all')
    .action(({ json = false, all = false, ...options }: Options) =>
      whenConnected(options, async ({ client, explain }) => {
        const found = await client.models()
        if (found.isErr()) return err(explain(found.error))
        const models = found.value
        if (json) {
          for (const model of models) await printJson(model)
          return ok(EXIT.done)
        }
        const shown = models.filter(({ problem }) => all || problem === null)
        if (shown.length > 0) for (const line of table(HEAD, shown.map(row))) await print(line)
        const hidden = models.length - shown.length
        if (hidden > 0) {
          say(`${hidden} more models cannot be called, mostly for want of a key; --all shows them.`)
        }
        return ok(EXIT.done)
      }),
    )
}

const row = (model: Model): string[] => [
  `${model.name}${model.is_default ? ' *' : ''}`,
  tokens(model.context_window),
  tokens(model.max_output_tokens),
  ...(['input', 'cached_input', 'output'] as const).map((kind) => {
    const usd = model.prices?.[`${kind}_usd_per_mtok`]
    return usd === undefined ? '?' : String(usd)
  }),
  model.reasoning_efforts === null ? '?' : model.reasoning_efforts.join(' ') || '-',
  model.problem === null ? '' : needs(model),
]

const needs = ({ key_variable, key_set, problem }: Model): string =>
  key_variable !== null && !key_set ? key_variable : (problem ?? '')

function tokens(count: number | null): string {
  if (count === null) return '?'
  return count >= 1_000_000 ? `${count / 1_000_000}M` : `${Math.round(count / 1_000)}k`
}
