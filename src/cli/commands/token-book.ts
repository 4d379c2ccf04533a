import { err, ok, type Result, ResultAsync } from 'neverthrow'
import type { NewTokenView, TokenView } from '../../api/auth.ts'
import { CATALOGUE } from '../../api/problem-codes.ts'
import { Access, type TokenFailure, type WantedToken } from '../../auth/auth.ts'
import { tokenProblem } from '../../http/problems/token-problem.ts'
import { tokenView } from '../../http/token-view.ts'
import { readStorePlace } from '../../server/settings.ts'
import type { Server } from '../connection.ts'
import { openStore } from '../open-store.ts'

type Answered<T> = ResultAsync<T, string>

/** Where tokens are made, listed and revoked. Errors are texts for people. */
export type TokenBook = {
  create(wanted: WantedToken): Answered<NewTokenView>
  /** Newest first. */
  list(): Answered<readonly TokenView[]>
  revoke(id: string, reason: string | undefined): Answered<TokenView>
}

export function bookOfServer({ client: { tokens }, explain }: Server): TokenBook {
  return {
    create: ({ name, role, expiresIn }) =>
      tokens.create({ name, role, expires_in: expiresIn }).mapErr(explain),
    list: () => tokens.list().mapErr(explain),
    revoke: (id, reason) => tokens.revoke(id, { reason }).mapErr(explain),
  }
}

const HINT =
  'While a server uses this log, name the server instead: --server, and RETRAI_TOKEN for an admin.'
const READ_WITHIN_MS = 10_000
/** Who can open the store is as good as its owner. */
const PRINCIPAL = 'local'
const now = (): number => Date.now() / 1000
const silent = { warn: () => {}, error: () => {} }

/** Works on a log that no server uses, or on an EventStoreDB. */
export async function withBookOfStore<T>(
  place: { readonly dataDir?: string; readonly store?: string },
  work: (book: TokenBook) => Promise<Result<T, string>>,
): Promise<Result<T, string>> {
  const found = readStorePlace(place, process.env)
  if (found.isErr()) return err(found.error)
  const { EVENTSTORE_URL, RETRAI_DATA_DIR } = found.value
  const store = await openStore(EVENTSTORE_URL ?? RETRAI_DATA_DIR)
  if (store.isErr()) return err(`${store.error} ${HINT}`)
  const access = await Access.open({
    store: store.value,
    configured: null,
    clock: now,
    log: silent,
  })
  try {
    if (await access.read(READ_WITHIN_MS)) return await work(bookOf(access))
    return err('It cannot be read which tokens there are: the store is away, or is damaged.')
  } finally {
    await access.close()
    await store.value.close()
  }
}

function bookOf(access: Access): TokenBook {
  return {
    create: (wanted) =>
      access
        .create(wanted, PRINCIPAL)
        .map(({ token, secret }) => ({ ...tokenView(token, now()), secret }))
        .mapErr(explain),
    list: () => {
      const all = access.tokens().map((token) => tokenView(token, now()))
      return new ResultAsync(Promise.resolve(ok(all.reverse())))
    },
    revoke: (id, reason) =>
      access
        .revoke(id, reason ?? null, PRINCIPAL)
        .map((token) => tokenView(token, now()))
        .mapErr(explain),
  }
}

function explain(error: TokenFailure): string {
  const { code, detail } = tokenProblem(error)
  return detail ?? CATALOGUE[code][2]
}
