import { Text } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { mcpOfferQuery, serverRulesQuery } from '../api/queries.ts'
import type { FormOf } from '../ui/field.ts'
import { visible } from '../ui/foreign-text.ts'
import { ruleText } from '../ui/rule-text.ts'
import type { Draft } from './draft.ts'
import { JsonField } from './json-field.tsx'
import classes from './start-form.module.css'

/** Rules for the calls of the run, in order, and the rules of the server, which hold too. */
export function ApprovalsField(form: FormOf<Draft>) {
  const rules = useQuery(serverRulesQuery).data ?? []
  return (
    <section className={classes.section} aria-label="Approvals">
      {rules.length > 0 && (
        <div data-testid="server-rules">
          <Text size="sm" c="dimmed">
            The server has rules for every run, too. The stricter rule decides:
          </Text>
          <ol className={classes.rules}>
            {rules.map((rule, index) => (
              // biome-ignore lint/suspicious/noArrayIndexKey: the place of a rule is its name
              <li key={index}>{visible(ruleText(rule))}</li>
            ))}
          </ol>
        </div>
      )}
      <JsonField
        name="approvals"
        form={form}
        label="Rules for calls"
        description="Optional, as JSON. The first rule that fits a call decides: ask, deny or allow. If none fits, the call is allowed. * is any text."
        example='[{"command": "git push *", "action": "ask", "reason": "People push"}]'
      />
    </section>
  )
}

/** The MCP servers of a run: those that the server offers, and those that the run brings, if the server allows that. */
export function McpField(form: FormOf<Draft>) {
  const { servers = [], own = 'none' } = useQuery(mcpOfferQuery).data ?? {}
  if (servers.length === 0 && own === 'none') return null
  const names = servers.map(({ name }) => visible(name)).join(', ')
  const offered = names === '' ? '' : ` The server offers: ${names}.`
  const bring = {
    none: '',
    commands: ' A run may bring programs of its own.',
    all: ' A run may bring programs and URLs of its own.',
  }[own]
  const example = own === 'none' ? '' : ', {"name": "mine", "command": "node", "args": ["mcp.js"]}'
  return (
    <JsonField
      name="mcp_servers"
      form={form}
      label="MCP servers"
      description={`Optional, as JSON. The agent may call their tools.${offered}${bring}`}
      example={`["${servers[0]?.name ?? 'docs'}"${example}]`}
    />
  )
}
