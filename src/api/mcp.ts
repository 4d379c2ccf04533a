import * as z from 'zod'
import { McpServer } from '../domain/mcp-servers.ts'

/** GET /api/mcp-servers: the MCP servers that a run may have on this server. */
export const McpOffer = z
  .object({
    servers: z
      .array(z.object(McpServer.unwrap().shape).readonly())
      .readonly()
      .describe(
        'Those of the configuration, which a run names. A name in braces after $ is a variable whose value only the server knows',
      ),
    own: z
      .enum(['none', 'commands', 'all'])
      .describe('What a run may bring itself: nothing, commands, or commands and URLs'),
  })
  .meta({
    id: 'McpOffer',
    examples: [
      {
        servers: [
          {
            name: 'docs',
            source: 'configuration',
            url: 'https://docs.example.org/mcp',
            required: true,
            on_change: 'stop',
            trust_hints: true,
            start_timeout_s: 60,
            call_timeout_s: 120,
          },
        ],
        own: 'commands',
      },
    ],
  })
export type McpOffer = z.infer<typeof McpOffer>
