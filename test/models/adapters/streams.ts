import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Api } from '../../../src/models/routing.ts'
import { sse } from './support.ts'

type Message = string | object

/**
 * The messages of one whole reply, in `wire`: as the providers document them, written for these tests by hand. No provider
 * was called for them, and none is a copy of a recording. Each reply has text that is cut inside of characters, reasoning,
 * and two calls.
 */
const messagesIn = (api: Api): readonly Message[] =>
  readFileSync(join(import.meta.dirname, 'wire', `${api}.jsonl`), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))

export const EVENTS: Readonly<Record<Api, readonly Message[]>> = {
  chat: messagesIn('chat'),
  responses: messagesIn('responses'),
  messages: messagesIn('messages'),
  gemini: messagesIn('gemini'),
  ollama: messagesIn('ollama'),
}

/** A stream of these messages. */
export const sent = (api: Api, messages: readonly Message[]): string =>
  api === 'ollama' ? messages.map((line) => `${JSON.stringify(line)}\n`).join('') : sse(messages)

export const STREAMS: Readonly<Record<Api, string>> = {
  chat: `: keep-alive\n\n${sent('chat', EVENTS.chat)}`,
  responses: sent('responses', EVENTS.responses),
  messages: sent('messages', EVENTS.messages),
  gemini: sent('gemini', EVENTS.gemini),
  ollama: sent('ollama', EVENTS.ollama),
}
