import { Autocomplete, Select, SimpleGrid, TagsInput } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { EFFORTS, type Effort } from '../../../src/api/records.ts'
import type { Model } from '../../../src/client/index.ts'
import { modelsQuery } from '../api/queries.ts'
import type { FormOf } from '../ui/field.ts'
import { NumberField } from '../ui/number-field.tsx'
import type { ModelDraft } from './draft.ts'

const isEffort = (text: string | null): text is Effort => EFFORTS.some((effort) => effort === text)

/** A person may type any model; the form offers those that the server knows and can call. */
export function ModelField({ value, onChange, problem }: FormOf<ModelDraft>) {
  const { names, chosen, standard } = useModels(value)
  return (
    <Autocomplete
      label="Model"
      description={chosen === undefined ? undefined : factsOf(chosen)}
      placeholder={standard ?? "The server's default"}
      data={names}
      value={value.model_name}
      onChange={(model_name) => onChange({ model_name })}
      error={problem('model_name')}
      spellCheck={false}
    />
  )
}

/** The models that can be called, and the one that is chosen, if the server knows it. */
function useModels({ model_name }: ModelDraft) {
  const models = useQuery(modelsQuery).data ?? []
  const names = models.filter((model) => model.problem === null).map(({ name }) => name)
  const chosen = models.find(({ name, is_default }) =>
    model_name.trim() === '' ? is_default : name === model_name.trim(),
  )
  return { names, chosen, standard: models.find(({ is_default }) => is_default)?.name }
}

/** How the model is asked, and which models are asked if it does not reply. */
export function ModelSettings(form: FormOf<ModelDraft>) {
  const { value, onChange, problem } = form
  const { names, chosen } = useModels(value)
  const efforts = chosen?.reasoning_efforts ?? EFFORTS
  return (
    <>
      <SimpleGrid cols={{ base: 1, xs: 2 }}>
        <Select
          label="Effort"
          placeholder="The model's default"
          data={[...efforts]}
          value={value.reasoning_effort}
          onChange={(effort) => onChange({ reasoning_effort: isEffort(effort) ? effort : null })}
          error={problem('reasoning_effort')}
          disabled={efforts.length === 0 && value.reasoning_effort === null}
          clearable
        />
        <NumberField
          name="max_output_tokens"
          form={form}
          isCount
          label="Reply limit, tokens"
          placeholder="The limit of the model"
          thousandSeparator=","
        />
      </SimpleGrid>
      <TagsInput
        label="Fallbacks"
        description="If all attempts to get a reply fail, the run continues with the next of these."
        placeholder={value.fallback_models.length === 0 ? 'None' : ''}
        data={names.filter((name) => name !== value.model_name)}
        value={[...value.fallback_models]}
        onChange={(fallback_models) => onChange({ fallback_models })}
        error={problem('fallback_models')}
      />
    </>
  )
}

/** What a person wants to know of a model before choosing it. */
function factsOf({ context_window, prices }: Model): string {
  const window =
    context_window === null ? 'Unknown window' : `${context_window.toLocaleString('en')} tokens`
  if (prices === null) return `${window}; unknown price, so a run with it cannot have a cost limit`
  const { input_usd_per_mtok: input, output_usd_per_mtok: output } = prices
  return `${window}; $${input} in, $${output} out for a million tokens`
}
