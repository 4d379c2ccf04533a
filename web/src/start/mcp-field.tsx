import { Checkbox, MultiSelect, Select, SimpleGrid, Text, Textarea, TextInput } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { mcpOfferQuery } from '../api/queries.ts'
import { type FormOf, textField } from '../ui/field.ts'
import type { Draft } from './draft.ts'
import { emptyServer, type McpDraft } from './mcp-draft.ts'
import { RowsField } from './rows-field.tsx'
import { Section } from './section.tsx'

type Props = FormOf<Pick<Draft, 'mcp_servers' | 'own_servers'>>

/** The MCP servers of a run: those that the server offers, and those that the run brings, if the server allows that. */
export function McpField({ value, onChange, problem }: Props) {
  const { mcp_servers: names, own_servers: own } = value
  const offer = useQuery(mcpOfferQuery).data
  const servers = offer?.servers ?? []
  const mayBring = offer === undefined ? 'none' : offer.own
  if (servers.length === 0 && mayBring === 'none') return null
  const ofNames = names.map((_, index) => problem(`mcp_servers.${index}`)).find(Boolean)
  return (
    <Section title="MCP servers">
      <Text size="sm" c="dimmed">
        Optional. The agent may call the tools of these servers.
      </Text>
      {servers.length > 0 && (
        <MultiSelect
          label="Servers of the configuration"
          data={servers.map(({ name }) => name)}
          value={[...names]}
          onChange={(mcp_servers) => onChange({ mcp_servers })}
          error={ofNames}
          clearable
        />
      )}
      {mayBring !== 'none' && (
        <RowsField
          items={own}
          onChange={(own_servers) => onChange({ own_servers })}
          make={emptyServer}
          nameOf={(index) => `MCP server ${index + 1}`}
          addLabel="Add an MCP server for this run"
          problem={problem('mcp_servers', 'exact')}
        >
          {(server, change, index) => {
            const field = `mcp_servers.${names.length + index}`
            return (
              <OwnServer
                value={server}
                onChange={change}
                mayHaveUrl={mayBring === 'all'}
                problem={(inner) =>
                  problem(`${field}.${inner}`) ??
                  (inner === 'name' ? problem(field, 'exact') : undefined)
                }
              />
            )
          }}
        </RowsField>
      )}
    </Section>
  )
}

type OwnProps = FormOf<McpDraft> & { readonly mayHaveUrl: boolean }

const WAYS = [
  { value: 'command', label: 'A program' },
  { value: 'url', label: 'A URL' },
] as const

function OwnServer({ mayHaveUrl, ...form }: OwnProps) {
  const { value: server, onChange } = form
  return (
    <>
      <SimpleGrid cols={{ base: 1, xs: 2 }}>
        <TextInput
          label="Name"
          placeholder="docs"
          {...textField('name', form)}
          spellCheck={false}
          withAsterisk
        />
        {mayHaveUrl && (
          <Select
            label="It is"
            data={WAYS}
            value={server.by}
            onChange={(by) => onChange({ by: by === 'url' ? 'url' : 'command' })}
            allowDeselect={false}
          />
        )}
      </SimpleGrid>
      {server.by === 'url' ? (
        <TextInput
          label="URL"
          placeholder="https://docs.example.org/mcp"
          {...textField('url', form)}
          spellCheck={false}
          withAsterisk
        />
      ) : (
        <SimpleGrid cols={{ base: 1, xs: 2 }}>
          <TextInput
            label="Program"
            description="It runs isolated like the commands of the run."
            placeholder="node"
            {...textField('command', form)}
            spellCheck={false}
            withAsterisk
          />
          <Textarea
            label="Arguments"
            description="Optional. One a line."
            placeholder="server.js"
            autosize
            maxRows={6}
            {...textField('args', form)}
            spellCheck={false}
          />
        </SimpleGrid>
      )}
      <Checkbox
        label="The run ends if this server cannot be used"
        checked={server.required}
        onChange={(event) => onChange({ required: event.currentTarget.checked })}
      />
    </>
  )
}
