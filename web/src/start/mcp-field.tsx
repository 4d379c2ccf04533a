import { MultiSelect } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { mcpOfferQuery } from '../api/queries.ts'

type Props = {
  readonly value: readonly string[]
  readonly onChange: (names: string[]) => void
  readonly problem: string | undefined
}

/** The MCP servers of a run, if the server has any. */
export function McpField({ value, onChange, problem }: Props) {
  const servers = useQuery(mcpOfferQuery).data?.servers ?? []
  if (servers.length === 0) return null
  return (
    <MultiSelect
      label="MCP servers"
      description="Optional. Servers whose tools the agent may call."
      data={servers.map(({ name }) => name)}
      value={[...value]}
      onChange={onChange}
      error={problem}
      clearable
    />
  )
}
