import type { RunDetails } from '../../../src/client/index.ts'
import { statusOf } from '../../../src/domain/state.ts'
import type { Proof } from '../api/files.ts'
import type { Connection } from '../run/run-store.ts'
import type { RunView } from '../run/run-view.ts'
import { counted, formatCount } from '../ui/format.ts'

/** One thing about a run: checked and good, checked and bad, or not checked. */
export type Finding = {
  readonly verdict: 'good' | 'bad' | 'open'
  readonly what: string
  readonly more?: string
}

/** All that can be said of the records that have arrived, and no more than that. */
export function examine(
  view: RunView,
  server: RunDetails | null,
  connection: Connection,
  proof: Proof | null,
): readonly Finding[] {
  return [
    order(view),
    rules(view),
    complete(view, server, connection),
    account(view, server),
    ...(proof === null ? [] : [signed(view, proof)]),
    CHAIN,
  ]
}

const CHAIN: Finding = {
  verdict: 'open',
  what: 'Hashes and signatures are not checked here',
  more: 'Records come to observers without them. The signed export has them: check it offline with retrai verify FILE.',
}

function signed({ records }: RunView, { length, head }: Proof): Finding {
  return length === records.length
    ? {
        verdict: 'good',
        what: `The server signs that there are ${counted(length, 'record')}`,
        more: `hash of the last: ${head.slice(0, 16)}…`,
      }
    : {
        verdict: 'bad',
        what: `The server signs that there are ${counted(length, 'record')}, but here are others`,
      }
}

function order({ records, broken }: RunView): Finding {
  if (broken !== null) {
    return {
      verdict: 'bad',
      what: `Nothing behind record ${broken.seq - 1} is shown`,
      more: broken.message,
    }
  }
  if (records.length === 0) return { verdict: 'open', what: 'No record has arrived yet' }
  return {
    verdict: 'good',
    what: `${counted(records.length, 'record')} in order, none missing`,
    more: `seq 0 to ${formatCount(records.length - 1)}, counted as they came`,
  }
}

function rules({ records, broken }: RunView): Finding {
  if (broken !== null || records.length === 0) {
    return { verdict: 'open', what: 'The rules of a run could not be checked to the end' }
  }
  return {
    verdict: 'good',
    what: 'Every record is allowed where it stands',
    more: "Each was folded here with the server's own rules",
  }
}

function complete(view: RunView, server: RunDetails | null, connection: Connection): Finding {
  const last = view.records.length - 1
  if (connection.type === 'complete') {
    return { verdict: 'good', what: 'The run has ended, and its end is here' }
  }
  if (connection.type === 'lost') {
    return { verdict: 'open', what: 'There may be more: the connection is lost' }
  }
  const head = server?.progress.seq ?? null
  return head !== null && last < head
    ? { verdict: 'open', what: `Not all here yet: the server is at ${formatCount(head)}` }
    : { verdict: 'good', what: 'Up to date with the server' }
}

/** Where both stand at the same record, the server's account must be the one that follows from it. */
function account({ state, usage }: RunView, server: RunDetails | null): Finding {
  const what = "The server's own totals follow from the records"
  if (server === null || state === null || server.progress.seq !== state.seq) {
    return { verdict: 'open', what: 'Totals are compared when both are at the same record' }
  }
  const { total_tokens, estimated_cost_usd, iteration } = server.progress
  const same =
    server.status === statusOf(state) &&
    iteration === state.iteration &&
    total_tokens === state.total.tokens &&
    estimated_cost_usd === state.total.costUsd
  return same
    ? {
        verdict: 'good',
        what,
        more: `status, iteration, tokens and cost of ${counted(usage.length, 'model call')}`,
      }
    : { verdict: 'bad', what: "The server's totals do not follow from the records" }
}
