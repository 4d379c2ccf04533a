import { Select, Text, TextInput } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import type { Level } from '../../../src/api/about-server.ts'
import type { IsolationOffer } from '../../../src/client/index.ts'
import { isolationOfferQuery } from '../api/queries.ts'
import { type FormOf, textField } from '../ui/field.ts'
import type { CommandDraft } from './draft.ts'

/** What the commands of a run may do: what the server offers can be chosen, and the rest says why not. */
export function CommandFields(form: FormOf<CommandDraft>) {
  const { value, onChange, problem } = form
  const offer = useQuery(isolationOfferQuery).data
  const chosen = value.isolation ?? offer?.level
  const at = offer?.levels.find(({ level }) => level === chosen)
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
        description={offer && at && networkHint(offer, at)}
        placeholder={at?.hosts_problem == null ? 'None' : ''}
        {...textField('network', form)}
        spellCheck={false}
      />
    </>
  )
}

/** What the field of the network may hold at a level, or why it must be empty. */
function networkHint(offer: IsolationOffer, at: IsolationOffer['levels'][number]): string {
  if (at.hosts_problem !== null) return at.hosts_problem
  const hosts = offer.hosts === null ? '' : ` The server allows: ${offer.hosts.join(', ')}.`
  const full = at.full_problem === null ? ', or full' : ''
  return `Hosts with commas between them, preset:goal for the package registries of the goal${full}. If empty, commands have no network.${hosts}`
}
