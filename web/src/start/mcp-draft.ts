import type { RunRequest } from '../../../src/client/index.ts'
import { newId } from './goal-draft.ts'

/** An MCP server that the request brings, as it is filled in. Empty: ''. */
export type McpDraft = {
  readonly id: string
  readonly name: string
  /** How it is reached: the fields of the other way are not sent. */
  readonly by: 'command' | 'url'
  readonly command: string
  /** One argument a line, with its spaces. */
  readonly args: string
  readonly url: string
  readonly required: boolean
}

export const emptyServer = (): McpDraft => ({
  ...{ id: newId(), name: '', by: 'command', command: '', args: '', url: '', required: true },
})

type Servers = NonNullable<RunRequest['mcp_servers']>

/** The MCP servers in the form of the request: those that it names, then those that it brings. */
export const serversOf = (names: readonly string[], own: readonly McpDraft[]): Servers => [
  ...names,
  ...own.map(({ name, by, command, args, url, required }) => {
    const lines = args.replace(/\n+$/, '').split('\n')
    const program = { command: command.trim(), ...(args.trim() === '' ? {} : { args: lines }) }
    return {
      name: name.trim(),
      ...(by === 'command' ? program : { url: url.trim() }),
      ...(required ? {} : { required }),
    }
  }),
]
