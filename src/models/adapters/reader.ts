import type { Result } from 'neverthrow'
import * as z from 'zod'
import type { Complaint, RawReply, ReplyReader } from '../adapter.ts'
import type { ModelPart } from '../model.ts'
import { invalid, type ReportedCall, toRequestedCalls } from '../replies.ts'
import type { Api } from '../routing.ts'
import { type ReportedUsage, usageOf } from './usage.ts'

/** A text that an endpoint may leave out, or send as something else. */
export const looseText = z.string().nullish().catch(null)

export type Taken = ReturnType<ReplyReader['read']>

/** A reply in the words of its API. A blank text counts as none. */
export type Told = Result<
  Pick<RawReply, 'finishReason' | 'items'> & {
    readonly text: string
    readonly calls: readonly ReportedCall[]
  },
  Complaint
>

/** What the readers of all APIs do: each says only what a message of its API means, and what a reply is made of. */
export abstract class ApiReader<M> implements ReplyReader {
  state: ReplyReader['state'] = 'open'
  used: ReplyReader['used'] = { usage: null, costUsd: null }
  protected abstract readonly api: Api
  protected abstract readonly schema: z.ZodType<M>

  read(message: unknown): Taken {
    const checked = this.schema.safeParse(message)
    return checked.success ? this.take(checked.data, message) : invalid(checked.error)
  }

  reply(): Result<RawReply, Complaint> {
    return this.told().map(({ text, calls, ...rest }) => ({
      text: text.trim() ? text : null,
      toolCalls: toRequestedCalls(calls),
      ...rest,
      ...this.used,
    }))
  }

  /** Keeps what the provider reports about the tokens of the reply. */
  protected report(usage: ReportedUsage): void {
    this.used = { usage: usageOf(this.api, usage), costUsd: null }
  }

  /** @param raw the message with what the schema leaves out */
  protected abstract take(message: M, raw: unknown): Taken
  protected abstract told(): Told
}

/** The parts of a call that comes as a whole. */
export const wholeCall = (index: number, tool: string, args: unknown): ModelPart[] => [
  { type: 'call', index, tool },
  { type: 'arguments', index, text: typeof args === 'string' ? args : JSON.stringify(args) },
]
