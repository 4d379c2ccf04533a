import type { Role } from '../api/roles.ts'
import type { Lease } from './lease.ts'

/** Who asks. */
export type Caller = {
  /** As the log records it beside what was asked. */
  readonly principal: string
  readonly role: Role
  readonly lease: Lease
}

/** Why somebody is not let in. */
export type Rejection =
  /** `detail` is for who holds the secret, where it is or was one. */
  | { readonly type: 'unauthenticated'; readonly detail?: string }
  /** It is not known which tokens there are: the log could not be read yet, or is damaged. */
  | { readonly type: 'tokens_unread' }
