"""Known bugs, planted one by one in a copy of the sources: each has to make a test fail.

`make mutants` runs them all and writes docs/mutants.md; `python -m tests.mutants WORDS` runs those whose
names contain these words, and writes nothing. A bug that no test notices shows that a test is missing, and
the command then ends with 1, as it does when a text to replace is no longer in its file. JOBS: how many
to try at a time (default: the cores).
"""

import ast
import contextlib
import io
import multiprocessing
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import pytest

from gan.errors import ConfigError
from pipeline import environment
from pipeline.stage import report_error

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "docs/mutants.md"
COPIED = ("gan", "pipeline", "tests", "data/mnist_tiny", "params.yaml", "recipes", "studies", "dvc.yaml")
COPIED += ("pyproject.toml",)

PENALTIES = ("tests/objectives/test_penalties.py",)
TRAINING = ("tests/test_training.py",)
OBJECTIVES = ("tests/objectives/test_games.py",)
OPTIMIZERS = ("tests/test_optimizers.py",)
LAYERS = ("tests/networks/test_layers.py",)
SAMPLING = ("tests/test_sampling.py",)
SAMPLES = ("tests/pipeline/test_sample.py",)
COLUMNS = (
    "tests/pipeline/report/test_report.py::"
    "test_the_averaged_generators_scores_rank_and_the_raw_ones_stand_in_a_column_of_their_own",
)
HELD_OUT = (
    "tests/pipeline/test_train.py::"
    "test_curves_of_held_out_images_are_of_the_validation_split_or_else_of_the_test_split",
)
DECISIONS = ("tests/pipeline/claims/test_claims.py::test_the_whole_interval_decides",)
EQUIVALENCE = (
    "tests/pipeline/claims/test_claims.py::"
    "test_equivalence_goes_by_the_interval_of_90_percent_and_a_comparison_by_that_of_95",
)


def of(kind: str) -> tuple[str, ...]:
    """Tests of one kind of variant."""
    return (f"tests/variants/test_{kind}.py",)


def evaluation(*names: str) -> tuple[str, ...]:
    """Some tests of the stages that score; the others need more files than are copied."""
    return tuple(f"tests/pipeline/test_evaluate.py::test_{name}" for name in names)


class Mutant(NamedTuple):
    """A bug: what it is, who had it ("": nobody known), and the replacement that makes it."""

    bug: str
    seen: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


NORM = "return (gradients.flatten(1).square().sum(1) + 1e-12).sqrt()"
EPSILON = "torch.rand(n, 1, 1, 1, device=real.device), len(real))\n    return epsilon"
TWO_SIDED = "return real + step * (2 * uniform(*pixels) - 1)"
PULLING = "(squares.sum() - squares.diagonal().sum()) / (n * (n - 1))"
POTENTIALS = "Potentials(attraction.mean(1) - mixed.mean(1), mixed.mean(0) - repulsion.mean(1))"

MUTANTS = [
    # The gradient penalty
    Mutant(
        "gradient norm over channels",
        "eriklindernoren/PyTorch-GAN, DRAGAN",
        "gan/objectives/penalties.py",
        NORM,
        "return (gradients.square().sum(1) + 1e-12).sqrt()",
        PENALTIES,
    ),
    Mutant(
        "gradient norm over height",
        "khanrc/tf.gans-comparison; SunnerLi/WGAN-tensorlayer",
        "gan/objectives/penalties.py",
        NORM,
        "return (gradients.square().sum(2) + 1e-12).sqrt()",
        PENALTIES,
    ),
    Mutant(
        "gradient norm over the whole batch",
        "torchgan/torchgan",
        "gan/objectives/penalties.py",
        NORM,
        "return (gradients.square().sum() + 1e-12).sqrt().expand(len(gradients))",
        PENALTIES,
    ),
    Mutant(
        "root of the mean square in place of the norm",
        "SunnerLi/WGAN-tensorlayer",
        "gan/objectives/penalties.py",
        NORM,
        "return (gradients.flatten(1).square().mean(1) + 1e-12).sqrt()",
        PENALTIES,
    ),
    Mutant(
        "no epsilon under the root of the norm",
        "",
        "gan/objectives/penalties.py",
        NORM,
        "return gradients.flatten(1).square().sum(1).sqrt()",
        PENALTIES,
    ),
    Mutant(
        "epsilon per pixel",
        "eriklindernoren/PyTorch-GAN, issue 5",
        "gan/objectives/penalties.py",
        EPSILON,
        "torch.rand(n, *real.shape[1:], device=real.device), len(real))\n    return epsilon",
        PENALTIES,
    ),
    Mutant(
        "epsilon per batch",
        "SunnerLi/WGAN-tensorlayer",
        "gan/objectives/penalties.py",
        EPSILON,
        "torch.rand(1, 1, 1, 1, device=real.device).expand(n, 1, 1, 1), len(real))\n    return place",
        PENALTIES,
    ),
    Mutant(
        "epsilon from N(0, 1)",
        "SunnerLi/WGAN-tensorlayer",
        "gan/objectives/penalties.py",
        EPSILON,
        "torch.randn(n, 1, 1, 1, device=real.device), len(real))\n    return epsilon",
        PENALTIES,
    ),
    Mutant(
        "the penalty's graph reaches the generator",
        "",
        "gan/objectives/penalties.py",
        "points = points.detach().float().requires_grad_()",
        "points = points.float() if points.requires_grad else points.float().requires_grad_()",
        PENALTIES,
    ),
    Mutant(
        "the penalty's gradient without a graph, so that it trains nothing",
        "",
        "gan/objectives/penalties.py",
        "create_graph=True",
        "create_graph=False",
        PENALTIES,
    ),
    Mutant(
        "only norms above 1 are penalised",
        "",
        "gan/objectives/penalties.py",
        "weight * (norms - 1).square().mean()",
        "weight * (norms - 1).clamp_min(0).square().mean()",
        PENALTIES,
    ),
    Mutant(
        "the penalised gradient left in bfloat16 under mixed precision",
        "",
        "gan/objectives/penalties.py",
        "return gradients.float()",
        "return gradients.bfloat16()",
        PENALTIES,
    ),
    Mutant(
        "the penalty logged but not added to the loss",
        "reported against Zeleni9/pytorch-wgan and others",
        "gan/objectives/games.py",
        "return loss + value, {",
        "return loss, {",
        OBJECTIVES,
    ),
    Mutant(
        "the critic minimises the penalty alone",
        "eriklindernoren/PyTorch-GAN, DRAGAN",
        "gan/objectives/games.py",
        "return loss + value, {",
        "return value, {",
        OBJECTIVES,
    ),
    Mutant(
        "batch normalisation under the penalty",
        "SunnerLi/WGAN-tensorlayer",
        "gan/variants/wgan_gp.py",
        "critic_norm=self.critic_norm)",
        'critic_norm="batch")',
        (
            "tests/variants/test_laws.py::"
            "test_no_critic_under_a_penalty_has_batch_statistics_but_in_profile_seed",
        ),
    ),
    # DRAGAN
    Mutant(
        "DRAGAN moves images upwards only",
        "the authors' notebook; LynnHo and torchgan",
        "gan/objectives/penalties.py",
        TWO_SIDED,
        "return real + step * uniform(*pixels)",
        PENALTIES,
    ),
    Mutant(
        "DRAGAN scaled by each image's deviation instead of the batch's",
        "",
        "gan/objectives/penalties.py",
        TWO_SIDED,
        "return real + scale * real.flatten(1).std(1).view(-1, 1, 1, 1) * (2 * uniform(*pixels) - 1)",
        PENALTIES,
    ),
    Mutant(
        "DRAGAN penalises the gradient of probabilities",
        "the authors' notebook",
        "gan/objectives/penalties.py",
        "gradient(critic, perturb(",
        "gradient(lambda points: critic(points).sigmoid(), perturb(",
        of("dragan"),
    ),
    Mutant(
        "DRAGAN perturbs fakes instead of real images",
        "",
        "gan/objectives/penalties.py",
        "perturb(real, perturbation, scale))",
        "perturb(fake, perturbation, scale))",
        of("dragan"),
    ),
    # EBGAN
    Mutant(
        "EBGAN detaches the target of the reconstruction",
        "eriklindernoren/PyTorch-GAN, issue 18",
        "gan/variants/ebgan.py",
        "error = (images - reconstruction",
        "error = (images.detach() - reconstruction",
        of("ebgan"),
    ),
    Mutant(
        "EBGAN hinges the batch mean instead of each sample",
        "khanrc/tf.gans-comparison",
        "gan/variants/ebgan.py",
        'level = fake_energy.mean() if self.params.hinge == "batch" else fake_energy',
        "level = fake_energy.mean()",
        of("ebgan"),
    ),
    Mutant(
        "EBGAN's energy is a mean square while its margin is meant for norms",
        "eriklindernoren/PyTorch-GAN",
        "gan/variants/ebgan.py",
        "energy: Tensor = error.norm(dim=1)",
        "energy: Tensor = error.square().mean(1)",
        of("ebgan"),
    ),
    Mutant(
        "pulling-away term without the square",
        "eriklindernoren/PyTorch-GAN; shekkizh, issue 3",
        "gan/variants/ebgan.py",
        "(directions @ directions.T).square()",
        "directions @ directions.T",
        of("ebgan"),
    ),
    Mutant(
        "pulling-away term includes the diagonal",
        "",
        "gan/variants/ebgan.py",
        PULLING,
        "squares.sum() / (n * (n - 1))",
        of("ebgan"),
    ),
    Mutant(
        "pulling-away term logged with its weight, so that it is 0 when off",
        "khanrc/tf.gans-comparison",
        "gan/variants/ebgan.py",
        '"generator/pulling_away": pulling.detach()',
        '"generator/pulling_away": weight * pulling.detach()',
        of("ebgan"),
    ),
    # BEGAN
    Mutant(
        "BEGAN's k not clamped",
        "wiseodd/generative-models",
        "gan/variants/began.py",
        "(k + self.k_rate.beside(k) * self._balance).clamp(0, 1)",
        "k + self.k_rate.beside(k) * self._balance",
        of("began"),
    ),
    Mutant(
        "BEGAN's k not saved",
        "",
        "gan/variants/began.py",
        '{"k": self.k.read(), **self.plateau.state_dict()}',
        '{"k": 0.0, **self.plateau.state_dict()}',
        of("began"),
    ),
    Mutant(
        "BEGAN's balance with the wrong sign",
        "",
        "gan/variants/began.py",
        "self.gamma.beside(real_loss) * real_loss - fake_loss",
        "fake_loss - self.gamma.beside(real_loss) * real_loss",
        of("began"),
    ),
    Mutant(
        "BEGAN's k updated with the critic step's energies",
        "khanrc/tf.gans-comparison",
        "gan/variants/began.py",
        'if self.params.balance_from == "generator_step":',
        "if False:",
        of("began"),
    ),
    Mutant(
        "BEGAN's M without the absolute value",
        "",
        "gan/variants/began.py",
        "real_loss + self._balance.abs()",
        "real_loss + self._balance",
        of("began"),
    ),
    Mutant(
        "BEGAN's loss summed over pixels",
        "wiseodd/generative-models",
        "gan/variants/began.py",
        "return error.mean() if",
        "return error.flatten(1).sum(1).mean() if",
        of("began"),
    ),
    Mutant(
        "BEGAN detaches the target of the reconstruction",
        "",
        "gan/variants/began.py",
        "error = (images - reconstruction",
        "error = (images.detach() - reconstruction",
        of("began"),
    ),
    # WGAN
    Mutant(
        "clipping skips gains and biases",
        "",
        "gan/variants/wgan.py",
        "        parameter.data.clamp_(-bound, bound)",
        "        if parameter.dim() > 1:\n            parameter.data.clamp_(-bound, bound)",
        of("wgan"),
    ),
    Mutant(
        "clipping includes running statistics",
        "kuleshov/tf-wgan",
        "gan/variants/wgan.py",
        "for parameter in critic.parameters():",
        "for parameter in [*critic.parameters(), *(b for b in critic.buffers() if b.is_floating_point())]:",
        of("wgan"),
    ),
    Mutant(
        "clipping before the update",
        "the authors' code; kuleshov/tf-wgan; divyam25/Oh-My-GAN",
        "gan/training.py",
        "    state.critic_optimizer.step()\n    gan.objective.after_critic_step(gan.critic)\n",
        "    gan.objective.after_critic_step(gan.critic)\n    state.critic_optimizer.step()\n",
        of("wgan"),
    ),
    Mutant(
        "W with the wrong sign, fake minus real",
        "kuleshov/tf-wgan; SunnerLi/WGAN-tensorlayer",
        "gan/objectives/losses.py",
        "return real.mean() - fake.mean()",
        "return fake.mean() - real.mean()",
        of("wgan"),
    ),
    Mutant(
        "the generator lowers its scores",
        "",
        "gan/objectives/games.py",
        "loss = -critic(fake).float().mean()",
        "loss = critic(fake).float().mean()",
        of("wgan"),
    ),
    Mutant(
        "the warm-up's long inner loops one step early",
        "kuleshov/tf-wgan",
        "gan/objectives/games.py",
        "step % 500 == 0",
        "(step + 1) % 500 == 0",
        of("wgan"),
    ),
    # The other losses
    Mutant(
        "LSGAN squares sigmoids",
        "google/compare_gan",
        "gan/variants/lsgan.py",
        "real_scores, fake_scores = critic(real).float(), critic(fake).float()",
        "real_scores, fake_scores = critic(real).float().sigmoid(), critic(fake).float().sigmoid()",
        of("lsgan"),
    ),
    Mutant(
        "the generator's loss in its saturating form",
        "",
        "gan/objectives/losses.py",
        "return functional.softplus(-fake).mean()",
        "return -functional.softplus(fake).mean()",
        of("gan"),
    ),
    Mutant(
        "Coulomb's potential not detached",
        "",
        "gan/variants/coulomb.py",
        "real, fake = real.detach().float().flatten(1), fake.detach().float().flatten(1)",
        "real, fake = real.float().flatten(1), fake.float().flatten(1)",
        of("coulomb"),
    ),
    Mutant(
        "Coulomb's self term dropped",
        "",
        "gan/variants/coulomb.py",
        "target = without if params.exclude_self else with_self",
        "target = without",
        of("coulomb"),
    ),
    Mutant(
        "Coulomb's potential with its authors' sign, but the paper's loss",
        "bioinf-jku/coulomb_gan has both the other way",
        "gan/variants/coulomb.py",
        POTENTIALS,
        "Potentials(mixed.mean(1) - attraction.mean(1), repulsion.mean(1) - mixed.mean(0))",
        of("coulomb"),
    ),
    Mutant(
        "Coulomb's distances computed by a matrix product",
        "",
        "gan/variants/coulomb.py",
        'compute_mode="donot_use_mm_for_euclid_dist"',
        'compute_mode="use_mm_for_euclid_dist"',
        of("coulomb"),
    ),
    Mutant(
        "the saturating penalty pulls norms to 0",
        "",
        "gan/variants/wgan_penalty.py",
        "saturate(norms - 1)",
        "saturate(norms)",
        of("wgan_penalty"),
    ),
    Mutant(
        "the endpoints penalty on real images alone",
        "",
        "gan/variants/wgan_penalty.py",
        "for images in (real, fake)]",
        "for images in (real, real)]",
        of("wgan_penalty"),
    ),
    # The loop
    Mutant(
        "the critic left frozen",
        "",
        "gan/training.py",
        "    gan.critic.requires_grad_(True)\n",
        "",
        TRAINING,
    ),
    Mutant(
        "the generator updated on critic steps",
        "",
        "gan/training.py",
        "    return update_critic(state, real, state.draw_fakes(len(real), with_graph=False))\n",
        "    scalars = update_critic(state, real, state.draw_fakes(len(real), with_graph=False))\n"
        "    state.generator_optimizer.step()\n"
        "    return scalars\n",
        TRAINING,
    ),
    Mutant(
        "the critic's loss reaches the generator",
        "divyam25/Oh-My-GAN",
        "gan/training.py",
        "scalars = update_critic(state, real, fake.detach())",
        "scalars = update_critic(state, real, fake)",
        TRAINING,
    ),
    Mutant(
        "kernels derived before a critic's update used after it",
        "",
        "gan/training.py",
        "    forget_derived(gan.critic)\n",
        "",
        TRAINING,
    ),
    Mutant(
        "gradients of earlier critic steps accumulated",
        "",
        "gan/training.py",
        "    state.critic_optimizer.zero_grad(set_to_none=True)\n",
        "",
        TRAINING,
    ),
    Mutant(
        "all critic steps on the same batch and noise",
        "divyam25/Oh-My-GAN",
        "gan/training.py",
        "if inner == 0 or not repeated:",
        "if inner == 0:",
        TRAINING,
    ),
    Mutant(
        "the averaged generator not saved",
        "",
        "gan/training.py",
        '            "averaged": self.averaged,\n',
        "",
        TRAINING,
    ),
    Mutant(
        "random numbers that shift when a run is resumed",
        "",
        "gan/training.py",
        'state.seed_draws("critic", 0 if repeated else inner)',
        "pass",
        TRAINING,
    ),
    Mutant(
        "learning rates not scheduled",
        "",
        "gan/training.py",
        "        set_learning_rates(state)\n",
        "",
        TRAINING,
    ),
    Mutant(
        "held-out scores change the running statistics",
        "",
        "gan/training.py",
        "        buffer.copy_(value)\n",
        "        pass\n",
        TRAINING,
    ),
    # Optimisers and networks
    Mutant(
        "TensorFlow's RMSprop starting from a second moment of 0",
        "any port to torch.optim.RMSprop",
        "gan/optimizers.py",
        "torch.ones_like(weight)",
        "torch.zeros_like(weight)",
        OPTIMIZERS,
    ),
    Mutant(
        "TensorFlow's RMSprop with eps outside the root",
        "any port to torch.optim.RMSprop",
        "gan/optimizers.py",
        "torch._foreach_add(averages, 1e-10)\n            torch._foreach_sqrt_(roots)",
        "torch._foreach_sqrt(averages)\n            torch._foreach_add_(roots, 1e-10)",
        OPTIMIZERS,
    ),
    Mutant(
        "weight decay on biases and gains",
        "",
        "gan/optimizers.py",
        '{"params": others}]',
        '{"params": others, "weight_decay": decay}]',
        OPTIMIZERS,
    ),
    Mutant(
        "the critic's first layer normalised",
        "kuleshov/tf-wgan, DCGAN; SunnerLi/WGAN-tensorlayer",
        "gan/networks/dcgan.py",
        'kind = critic_norm if level > 0 or params.first_norm else "none"',
        "kind = critic_norm",
        ("tests/networks/test_dcgan.py",),
    ),
    Mutant(
        "layer norm per channel",
        "",
        "gan/networks/layers.py",
        "nn.GroupNorm(1, channels)",
        "nn.GroupNorm(channels, channels)",
        LAYERS,
    ),
    # Batch statistics and the modes of the networks
    Mutant(
        "the averaged generator keeps stale batch statistics",
        "",
        "gan/training.py",
        "    reestimate_batch_statistics(\n        state.averaged,",
        "    reestimate_batch_statistics(\n        copy.deepcopy(state.averaged),",
        TRAINING,
    ),
    Mutant(
        "the raw generator's batch statistics re-estimated instead of the average's",
        "",
        "gan/training.py",
        "    reestimate_batch_statistics(\n        state.averaged,",
        "    reestimate_batch_statistics(\n        state.gan.generator,",
        TRAINING,
    ),
    Mutant(
        "the critic in evaluation mode in the generator's update",
        "",
        "gan/training.py",
        "generator_loss(gan.critic, fake)",
        "generator_loss(gan.critic.eval(), fake)\n    gan.critic.train()",
        TRAINING,
    ),
    Mutant(
        "the critic in evaluation mode in its own update",
        "",
        "gan/training.py",
        "critic_loss(gan.critic, real, fake)",
        "critic_loss(gan.critic.eval(), real, fake)\n    gan.critic.train()",
        TRAINING,
    ),
    Mutant(
        "the generator in evaluation mode when it draws fakes",
        "",
        "gan/training.py",
        "fake: Tensor = self.gan.generator(noise).float()",
        "fake: Tensor = self.gan.generator.eval()(noise).float()",
        TRAINING,
    ),
    Mutant(
        "the critic in evaluation mode on held-out images",
        "",
        "gan/training.py",
        "held_out_scalars(critic, real.to(state.device), fake)",
        "held_out_scalars(critic.eval(), real.to(state.device), fake)\n    critic.train()",
        TRAINING,
    ),
    Mutant(
        "batch statistics re-estimated by running momentum",
        "",
        "gan/sampling.py",
        "norm.momentum = None  # a plain mean over all batches",
        "norm.momentum = 0.1",
        SAMPLING,
    ),
    Mutant(
        "batch statistics re-estimated on top of those of training",
        "",
        "gan/sampling.py",
        "        norm.reset_running_stats()\n",
        "",
        SAMPLING,
    ),
    Mutant(
        "batch statistics re-estimated from other noise than the model's",
        "",
        "gan/sampling.py",
        "generator(draw_noise(BATCH, z_dim, law, stream).to(device))",
        'generator(draw_noise(BATCH, z_dim, "uniform", stream).to(device))',
        SAMPLING,
    ),
    # Scores
    Mutant(
        "the portions of an extrapolated distance taken in the samples' own order",
        "",
        "gan/metrics/distances.py",
        "np.random.default_rng(seed).permutation(len(rows))",
        "np.arange(len(rows))",
        ("tests/metrics/test_distances.py",),
    ),
    Mutant(
        "the digits of a stack named in reverse",
        "",
        "pipeline/evaluator.py",
        "np.array([100, 10, 1])",
        "np.array([1, 10, 100])",
        evaluation("a_stack_of_digits_is_three_that_are_named_alone_and_trained_on_once"),
    ),
    Mutant(
        "the floor scored on images of the reference",
        "",
        "pipeline/reference.py",
        "floor = _scores(extractor, train.read(drawn), beside)",
        "floor = _scores(extractor, store.read(chosen), beside)",
        evaluation("the_floor_is_of_training_images_beside_the_reference_and_the_ceiling_of_uniform_noise"),
    ),
    Mutant(
        "a reference in the training split whose images the floor may be drawn from",
        "",
        "pipeline/reference.py",
        "others = np.setdiff1d(np.arange(len(train)), own)",
        "others = np.arange(len(train))",
        evaluation("the_floor_is_of_training_images_beside_the_reference_and_the_ceiling_of_uniform_noise"),
    ),
    Mutant(
        "the floor's own images among those that it may have copied",
        "",
        "pipeline/reference.py",
        "train=train_features[~np.isin(known, drawn)]",
        "train=train_features",
        evaluation("the_floor_is_of_training_images_beside_the_reference_and_the_ceiling_of_uniform_noise"),
    ),
    Mutant(
        "the ceiling scored on black images",
        "",
        "pipeline/reference.py",
        "integers(0, 256, (n",
        "integers(0, 1, (n",
        evaluation("the_floor_is_of_training_images_beside_the_reference_and_the_ceiling_of_uniform_noise"),
    ),
    Mutant(
        "the evaluator trained on test digits",
        "",
        "pipeline/evaluator.py",
        "images, labels = _digits(train)",
        "images, labels = _digits(test)",
        evaluation("the_evaluator_learns_from_the_training_split_and_is_measured_on_the_test_split"),
    ),
    Mutant(
        "the evaluator's accuracy measured on its training digits",
        "",
        "pipeline/evaluator.py",
        "images, labels = _digits(test)",
        "images, labels = _digits(train)",
        evaluation("the_evaluator_learns_from_the_training_split_and_is_measured_on_the_test_split"),
    ),
    Mutant(
        "the evaluator of attributes trained on test pictures",
        "",
        "pipeline/evaluator.py",
        "_train(net, train.read(chosen), train.read_attributes(chosen), recipe)\n"
        "    chosen = np.arange(min(len(test), MOST_PICTURES))",
        "chosen = np.arange(min(len(test), MOST_PICTURES))\n"
        "    _train(net, test.read(chosen), test.read_attributes(chosen), recipe)",
        evaluation("attributes_are_trained_on_where_the_images_have_them"),
    ),
    Mutant(
        "a sampling seed of its own for each cell",
        "",
        "pipeline/sample.py",
        'derive_seed("sample")',
        'derive_seed("sample", key)',
        SAMPLES,
    ),
    Mutant(
        "a sampling seed of its own for the raw generator",
        "",
        "pipeline/sample.py",
        'derive_seed("sample")',
        'derive_seed("sample", *([] if name == "averaged" else [name]))',
        SAMPLES,
    ),
    Mutant(
        "samples of another seed than their stamp says",
        "",
        "pipeline/sample.py",
        'derive_seed("sample")',
        'derive_seed("samples")',
        SAMPLES,
    ),
    Mutant(
        "interpolations of a seed of their own for each cell",
        "",
        "pipeline/sample.py",
        'derive_seed("interpolation")',
        'derive_seed("interpolation", key)',
        SAMPLES,
    ),
    Mutant(
        "raw samples generated with averaged weights",
        "",
        "pipeline/sample.py",
        '("raw", "generator_raw")',
        '("raw", "generator")',
        SAMPLES,
    ),
    Mutant(
        "held-out curves read from the training split",
        "",
        "pipeline/training/loop.py",
        'for split in ("validation", "test"):',
        'for split in ("train", "test"):',
        HELD_OUT,
    ),
    Mutant(
        "held-out curves read from the test split where there is a validation split",
        "",
        "pipeline/training/loop.py",
        'for split in ("validation", "test"):',
        'for split in ("test", "validation"):',
        HELD_OUT,
    ),
    # Decisions
    Mutant(
        "a claim of less than a threshold confirmed by the point value",
        "",
        "pipeline/claims/finding.py",
        "effect.high is not None and effect.high < less_than",
        "effect.value < less_than",
        DECISIONS,
    ),
    Mutant(
        "a claim of less than a threshold refuted by the point value",
        "",
        "pipeline/claims/finding.py",
        "effect.low is not None and effect.low > less_than",
        "effect.value > less_than",
        DECISIONS,
    ),
    Mutant(
        "a claim of more than a threshold confirmed by the point value",
        "",
        "pipeline/claims/finding.py",
        "effect.low is not None and effect.low > more_than",
        "effect.value > more_than",
        DECISIONS,
    ),
    Mutant(
        "a claim of more than a threshold refuted by the point value",
        "",
        "pipeline/claims/finding.py",
        "effect.high is not None and effect.high < more_than",
        "effect.value < more_than",
        DECISIONS,
    ),
    Mutant(
        "equivalence by the interval of 95 % instead of 90 %",
        "",
        "pipeline/claims/groups.py",
        "compared(groups, self.scale, confidence=0.9)",
        "compared(groups, self.scale)",
        EQUIVALENCE,
    ),
    Mutant(
        "a comparison by the interval of 90 % instead of 95 %",
        "",
        "pipeline/claims/groups.py",
        "    confidence: float = 0.95,",
        "    confidence: float = 0.9,",
        EQUIVALENCE,
    ),
    Mutant(
        "of champions with equal scores the last in the list wins",
        "",
        "pipeline/tracking/champions.py",
        "min(scored, key=lambda entry: (entry[1], entry[2].key))",
        "min(reversed(scored), key=lambda entry: entry[1])",
        ("tests/pipeline/test_register.py::test_equal_scores_crown_the_first_key",),
    ),
    Mutant(
        "of champions with equal scores the first in the list wins",
        "",
        "pipeline/tracking/champions.py",
        "min(scored, key=lambda entry: (entry[1], entry[2].key))",
        "min(scored, key=lambda entry: entry[1])",
        ("tests/pipeline/test_register.py::test_equal_scores_crown_the_first_key",),
    ),
    # Reports
    Mutant(
        "the columns FID and FID, raw swapped",
        "",
        "pipeline/report/columns.py",
        """            "FID": fixed(fid, self.fid_decimals),
            OF_CEILING: percent(fid / board.fid(row, "ceiling")),
            "FID, raw": raw,
""",
        """            "FID": raw or fixed(fid, self.fid_decimals),
            OF_CEILING: percent(fid / board.fid(row, "ceiling")),
            "FID, raw": raw and fixed(fid, self.fid_decimals),
""",
        COLUMNS,
    ),
    Mutant(
        "the summary's means taken from the raw generator",
        "",
        "pipeline/report/leaderboard.py",
        "interval([row.metrics[name] for row in rows])",
        'interval([row.metrics.get(f"{name}_raw", row.metrics[name]) for row in rows])',
        COLUMNS,
    ),
    Mutant(
        "ranks over seeds by the raw generator",
        "",
        "pipeline/report/leaderboard.py",
        "scores = {names: [board.fid(row) for row in rows]",
        'scores = {names: [board.fid(row, "raw") for row in rows]',
        COLUMNS,
    ),
    Mutant(
        "rows sorted by the raw generator",
        "",
        "pipeline/report/leaderboard.py",
        "mean(self.fid(row) for row in rows)",
        'mean(self.fid(row, "raw") for row in rows)',
        COLUMNS,
    ),
    Mutant(
        "the dots of the averaged and the raw generator swapped",
        "",
        "pipeline/report/sentences.py",
        'return place(board.fid(row)), place(board.fid(row, "raw"))',
        'return place(board.fid(row, "raw")), place(board.fid(row))',
        COLUMNS,
    ),
    Mutant(
        "a variant's scores of the averaged and the raw generator swapped",
        "",
        "pipeline/report/columns.py",
        "    averaged, raw, floor, ceiling = (\n",
        "    raw, averaged, floor, ceiling = (\n",
        COLUMNS,
    ),
    Mutant(
        "the raw generator's scores under the averaged one's names",
        "",
        "pipeline/evaluate.py",
        '"": scores("averaged"),\n        "raw": scores("raw"),',
        '"": scores("raw"),\n        "raw": scores("averaged"),',
        evaluation("samples_that_are_more_like_the_data_score_lower"),
    ),
]


class Outcome(NamedTuple):
    """Result of pytest on a copy: its exit status, the first test that failed, and its output."""

    status: int
    failed: str
    said: str


def main(words: str = "") -> int:
    """Run the bugs whose names contain the words, and report survivors; after a full run write the table."""
    mutants = [mutant for mutant in MUTANTS if words in mutant.bug]
    # A server that has loaded torch once forks a fresh process for each bug.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "numpy", "pydantic", "ruamel.yaml", "pytest"])
    try:
        jobs = environment.jobs()
    except ConfigError as error:
        return report_error(error)
    with context.Pool(jobs, maxtasksperchild=1) as pool:
        outcomes = []
        for mutant, outcome in zip(mutants, pool.imap(try_tests, mutants, chunksize=1), strict=True):
            if outcome.status not in (0, 1):
                print(f"error: {mutant.bug}: the tests could not be run\n{outcome.said}")
                return 1
            print(f"{mutant.bug}: {outcome.failed or 'NOTHING noticed it'}", flush=True)
            outcomes.append(outcome.failed)
        # A test that fails without a bug proves nothing.
        sound = pool.apply(try_tests, [Mutant("no bug", "", "", "", "", tuple(sorted({*outcomes} - {""})))])
    if sound.status != 0:
        print(f"error: {sound.failed} fails without any bug\n{sound.said}")
        return 1
    if mutants == MUTANTS:
        TABLE.parent.mkdir(exist_ok=True)
        TABLE.write_text(table_of(outcomes), encoding="utf-8")
    survivors = outcomes.count("")
    print(f"{len(mutants) - survivors} of {len(mutants)} bugs noticed")
    return 1 if survivors else 0


def try_tests(mutant: Mutant) -> Outcome:
    """Run a mutant's tests on a copy of the sources with the bug, up to the first that fails.

    Needs a process of its own, since it changes the working directory and the import path.
    """
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        copy = Path(folder).resolve()
        for name in COPIED:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / name, copy / name)
        if mutant.file:
            (copy / mutant.file).write_text(planted(mutant), encoding="utf-8")
        for name in [name for name in sys.modules if name.split(".")[0] in ("gan", "pipeline", "tests")]:
            del sys.modules[name]
        sys.path[:] = [str(copy), *(entry for entry in sys.path if Path(entry).resolve() != ROOT)]
        os.chdir(copy)
        os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        recorder, said = Recorder(), io.StringIO()
        options = ["-x", "-q", "-p", "pytest_timeout", "-p", "no:cacheprovider", f"--rootdir={copy}"]
        with contextlib.redirect_stdout(said):
            status = pytest.main([*options, *mutant.tests], plugins=[recorder])
        origin = Path(sys.modules["gan"].__file__ or "")
        assert origin.is_relative_to(copy), f"the tests were run on {origin}, not on the copy"
        os.chdir(ROOT)
    return Outcome(int(status), recorder.failed, said.getvalue()[-3000:])


class Recorder:
    """Keeps the name of the first test that failed."""

    failed = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Record one phase of a test."""
        if report.failed and not self.failed:
            self.failed = report.nodeid


def planted(mutant: Mutant) -> str:
    """Source of the mutant's file with the bug in it. Raises ValueError unless its text occurs once."""
    source = (ROOT / mutant.file).read_text(encoding="utf-8")
    if (times := source.count(mutant.old)) != 1:
        raise ValueError(f"{mutant.bug}: found {times} times in {mutant.file}, not once: {mutant.old!r}")
    changed = source.replace(mutant.old, mutant.new)
    ast.parse(changed)
    return changed


def table_of(killers: list[str]) -> str:
    """Markdown table of which test notices which bug."""
    rows = [
        "# Known bugs, and what notices them",
        "",
        "Written by `make mutants`. Each bug is planted alone in a copy of the sources, and the first",
        "test that fails is named; `tests/mutants.py` has the texts. Many were found in published",
        "implementations; the others are easy to make. Where a recipe of profile `seed` keeps an ancestor's",
        "bug on purpose, the mutant plants the same bug in the other recipes.",
        "",
        f"{len(killers) - killers.count('')} of {len(killers)} are noticed.",
        "",
        "| bug | seen in | planted in | noticed by |",
        "| --- | --- | --- | --- |",
    ]
    for mutant, killer in zip(MUTANTS, killers, strict=True):
        name = f"`{killer.removeprefix('tests/')}`" if killer else "**nothing**"
        rows.append(f"| {mutant.bug} | {mutant.seen} | `{mutant.file}` | {name} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    sys.exit(main(" ".join(sys.argv[1:])))
