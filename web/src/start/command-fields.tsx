import { Select, SimpleGrid, Text, TextInput } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import type { Level } from '../../../src/api/about-server.ts'
import type { IsolationOffer } from '../../../src/client/index.ts'
import { isolationOfferQuery } from '../api/queries.ts'
import { type FormOf, textField } from '../ui/field.ts'
import { NumberField } from '../ui/number-field.tsx'
import type { CommandDraft } from './draft.ts'

const MIB = 1024 * 1024
/** The labels of the limits, with their fields in the form and in the request. */
const LIMITS = [
  ['Memory, MiB', 'memory_mib', 'memory_bytes'],
  ['Processes', 'processes', 'processes'],
  ['Home, MiB', 'home_mib', 'home_bytes'],
  ['Output, MiB', 'output_mib', 'output_bytes'],
] as const

/** What the commands of a run may do: what the server offers can be chosen, and the rest says why not. */
export function CommandFields(form: FormOf<CommandDraft>) {
  const { value, onChange, problem } = form
  const offer = useQuery(isolationOfferQuery).data
  const limit = ([label, name, field]: (typeof LIMITS)[number]) => {
    const most = offer?.limits[field]
    const unit = field === 'processes' ? 1 : MIB
    return {
      ...{ name, label, hideControls: true },
      form: { ...form, problem: () => problem(`command_limits.${field}`) },
      placeholder: most === undefined ? undefined : `At most ${Math.floor(most / unit)}`,
    }
  }
  return (
    <>
      <Select
        label="Isolation"
        description={offer?.detail}
        placeholder={`The level of the server${offer === undefined ? '' : ` (${offer.level ?? 'commands are refused'})`}`}
        data={(offer?.levels ?? []).map(({ level, problem }) => {
          return { value: level, label: level, disabled: problem !== null }
        })}
        value={value.isolation}
        onChange={(level) => onChange({ isolation: level as Level | null })}
        error={problem('isolation')}
        clearable
      />
      {offer?.levels.map(
        ({ level, problem }) =>
          problem !== null && (
            <Text key={level} size="sm" c="dimmed" data-testid={`not-${level}`}>
              {problem}
            </Text>
          ),
      )}
      <TextInput
        label="Network of the commands"
        description={networkHint(offer, value.isolation)}
        placeholder="None"
        {...textField('network', form)}
        spellCheck={false}
      />
      <SimpleGrid cols={{ base: 2, xs: 4 }}>
        {LIMITS.map((one) => (
          <NumberField key={one[1]} isCount {...limit(one)} />
        ))}
      </SimpleGrid>
    </>
  )
}

/** What the field of the network may hold at a level, or why it must be empty. */
function networkHint(offer: IsolationOffer | undefined, chosen: Level | null): string | undefined {
  const level = chosen ?? offer?.level
  const at = offer?.levels.find((one) => one.level === level)
  if (offer === undefined || at === undefined) return undefined
  if (at.hosts_problem !== null) return at.hosts_problem
  const hosts = offer.hosts === null ? '' : ` The server allows: ${offer.hosts.join(', ')}.`
  const full = at.full_problem === null ? ', or full' : ''
  return `Hosts with commas between them, preset:goal for the package registries of the goal${full}. If empty, commands have no network.${hosts}`
}
