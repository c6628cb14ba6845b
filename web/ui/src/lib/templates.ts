import { get } from './api';

/** A Template is a plan of an experiment without devices, with what to do. Its texts are English. */
export interface Template { name: string; plan: { question: string; phases: { condition: string; seconds: number; says: string }[] | null }; do: string; shows: string; show_not: string; sites: string[] | null }

export const getTemplates = async (signal: AbortSignal, template = '') => (await get<Template[] | null>('experiments/templates', { template }, signal)) ?? [];
