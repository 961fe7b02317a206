"""Every word the page says, in its languages: one row a name. Knows nothing of where they stand."""

from __future__ import annotations

from dataclasses import dataclass

from serving.ui.sentences import sentence

LANGUAGES = {"en": "English", "zh": "中文"}
TABLE: dict[str, tuple[str, str]] = {
    "title": ("Picture to video", "图生视频"),
    "intro": ("One still picture and a prompt in, a short clip out.", "一张静态图片加一句提示词，生成一段短视频。"),
    "switch": ("Language", "语言"),
    "builtin": (
        "The small built-in model answers here: it moves the camera over your picture (pans, zooms, turns); nothing "
        "in the picture moves by itself. On a machine with a CUDA card the service runs I2VGen-XL, which does more; "
        "I2V_MODEL chooses.",
        "当前使用内置小模型：它只会移动镜头（平移、推拉、旋转），画面中的物体不会自己动。"
        "在有 CUDA 显卡的机器上，服务会运行能力更强的 I2VGen-XL；用 I2V_MODEL 选择模型。",
    ),
    # What is asked for.
    "picture": ("Picture", "图片"),
    "prompt": ("Prompt", "提示词"),
    "prompt_hint": ("What should move, and how, in English.", "用英文描述画面中什么在动、怎么动。"),
    "prompt_example": (
        "A person slowly turning around wearing the dress, soft light",
        "A person slowly turning around wearing the dress, soft light",
    ),
    "help": ("Prompt help: templates by category", "提示词助手：按品类选模板"),
    "category": ("Category", "品类"),
    "template": ("Template", "模板"),
    "template_any": ("The one that suits the title", "按标题自动选择"),
    "product": ("Product title", "商品标题"),
    "product_hint": (
        "In English, as a shop writes it; empty for the template's own example.",
        "填英文商品标题；留空则使用模板自带的例子。",
    ),
    "write": ("Write the prompt", "生成提示词"),
    "preset": ("Preset", "预设"),
    "preset_none": ("default", "默认"),
    "preset_preview": ("preview", "预览"),
    "preset_standard": ("standard", "标准"),
    "preset_high": ("high", "高清"),
    "preset_extreme": ("extreme", "极致"),
    "takes": ("Takes", "生成数量"),
    "takes_hint": ("Clips side by side, each with a seed of its own.", "并排生成多段视频，各用不同的随机种子。"),
    "advanced": ("Advanced parameters", "高级参数"),
    "model": ("Model", "模型"),
    "resolution": ("Resolution", "分辨率"),
    "aspect_ratio": ("Aspect ratio", "宽高比"),
    "aspect_ratio_own": ("the picture's own", "与图片一致"),
    "fit": ("Fit", "适配方式"),
    "fit_crop": ("crop", "裁剪"),
    "fit_pad": ("pad", "补边"),
    "focus": ("What a crop keeps", "裁剪保留"),
    "focus_auto": ("the subject", "主体"),
    "focus_center": ("the center", "中心"),
    "background": ("Background of padding", "补边背景"),
    "background_hint": ("edge, blur, or a colour such as #ffffff", "edge（边缘色）、blur（模糊）或颜色，如 #ffffff"),
    "num_frames": ("Frames", "帧数"),
    "num_frames_hint": ("Of the clip, or of each of its parts.", "整段视频的帧数；有多段时为每段的帧数。"),
    "segments": ("Segments", "接续段数"),
    "segments_hint": ("Each goes on from the last frame of the one before.", "每段从上一段的最后一帧接着生成。"),
    "angles": ("Angles", "多镜头"),
    "angles_hint": (
        "In place of segments: 2 to 6 lines, each what one part adds to the prompt.",
        "与接续段数二选一：2 到 6 行英文，每行是一个镜头在提示词之外的描述。",
    ),
    "loop": ("Loop", "循环"),
    "loop_none": ("none", "不循环"),
    "loop_pingpong": ("there and back", "正放后倒放"),
    "fps": ("Frame rate", "帧率"),
    "num_inference_steps": ("Steps", "采样步数"),
    "guidance_scale": ("Guidance", "引导强度"),
    "negative_prompt": ("Negative prompt", "负面提示词"),
    "negative_prompt_hint": ("What should not appear.", "不希望出现的内容。"),
    "acceleration": ("Accelerations", "加速方式"),
    "acceleration_hint": ("Faster, and not the exact clip.", "更快，但结果与精确计算略有不同。"),
    "seed": ("Seed", "随机种子"),
    "seed_hint": ("Empty for a random one.", "留空则随机。"),
    "format": ("Format", "格式"),
    "priority": ("Priority", "优先级"),
    "priority_interactive": ("interactive", "即时"),
    "priority_batch": ("batch", "批量"),
    "generate": ("Generate", "生成视频"),
    "cancel": ("Cancel", "取消"),
    # Before it is made.
    "warnings": ("Worth a look", "请留意"),
    "quote": ("Before you press", "预计"),
    "quote_clip": ("{size}, {frames} frames, {seconds} s", "{size}，{frames} 帧，{seconds} 秒"),
    "quote_cost": ("about {cost} of a card for each clip", "每段约占用显卡 {cost}"),
    "quote_done": ("done in about {finish}", "约 {finish}后完成"),
    "quote_done_first": ("the first done in about {finish}", "第一段约 {finish}后完成"),
    "quote_line": ("{jobs} before it in the queue or running", "前面还有 {jobs} 个任务"),
    "quote_rests": (
        "No estimate just now: this key asks as often as it may. Generating is counted apart.",
        "此密钥的查询次数已达上限，暂时无法估算，不影响生成。",
    ),
    "quote_unseen": ("for a square picture; upload yours to be exact", "按方形图片估算，上传图片后更准确"),
    # While it is made.
    "clips": ("Clips", "视频"),
    "nothing_yet": ("Your clip appears here.", "生成的视频会显示在这里。"),
    "queued": ("Waiting", "排队中"),
    "queued_at": ("Place {position} in the queue", "排队第 {position} 位"),
    "in_progress": ("In progress", "生成中"),
    "completed": ("Done", "已完成"),
    "failed": ("Failed", "失败"),
    "cancelled": ("Cancelled", "已取消"),
    "stage_starting": ("Starting", "正在启动"),
    "stage_conditioning": ("Reading picture and prompt", "正在读取图片和提示词"),
    "stage_denoising": ("Step {step} of {steps}", "第 {step} / {steps} 步"),
    "stage_paused": ("A shorter video goes first; step {step} of {steps}", "先生成较短的视频；第 {step} / {steps} 步"),
    "stage_decoding": ("Decoding frames", "正在解码画面"),
    "stage_encoding": ("Writing the video", "正在编码视频"),
    "left": ("about {left} left", "预计还需 {left}"),
    "attempt": ("attempt {attempt}", "第 {attempt} 次尝试"),
    "seconds": ("{seconds} s", "{seconds} 秒"),
    "minutes": ("{minutes} min {seconds} s", "{minutes} 分 {seconds} 秒"),
    # What came out.
    "seed_is": ("Seed {seed}", "种子 {seed}"),
    "download": ("Download", "下载"),
    "use": ("Use these settings", "使用这组参数"),
    "remix": ("Same picture, another prompt", "换提示词，图片和参数不变"),
    "remix_press": ("Generate with this prompt", "用此提示词生成"),
    "parameters": ("Parameters used", "所用参数"),
    "saved": ("Saved as", "保存位置"),
    "expired": ("The clip has expired; its settings are still here.", "视频已过期，参数仍可使用。"),
    "hints": ("Not what you wanted?", "效果不理想？"),
    "hint_weak_or_warped_motion": ("Motion weak or warped?", "动作太弱或变形？"),
    "hint_too_large_or_slow": ("Too large or too slow?", "太大或太慢？"),
    "size": ("Size", "尺寸"),
    "length": ("Length", "时长"),
    "made_in": ("Made in", "耗时"),
    "card": ("Card", "显卡"),
    "video": ("Video", "编号"),
    "gallery": ("Past clips", "历史作品"),
    "gallery_empty": ("No clips yet.", "还没有作品。"),
    "more": ("Show more", "显示更多"),
    "show": ("Show {prompt}", "查看 {prompt}"),
    # The key.
    "key": ("API key", "API 密钥"),
    "key_hint": (
        "This service asks for one; this browser keeps it for 30 days.",
        "本服务需要密钥；此浏览器会保存 30 天。",
    ),
    "key_enter": ("Use this key", "使用此密钥"),
    "key_refused": ("Enter an API key of this service.", "请输入本服务的 API 密钥。"),
    # What went wrong.
    "input_reference": ("Picture", "图片"),
    "prompt_wrong": ("Write a prompt first.", "请先填写提示词。"),
    "takes_wrong": ("Choose 1 to {most}.", "请选择 1 到 {most} 段。"),
    "picture_wrong": ("Choose a picture first.", "请先选择图片。"),
    "unreachable": ("The service cannot be reached just now.", "暂时无法连接服务。"),
    # Warnings by code; what was seen follows as the service says it.
    "warning_low_resolution": ("Small picture", "图片分辨率低"),
    "warning_text_in_picture": ("Text in the picture", "图片中有文字"),
    "warning_small_subject": ("Small subject", "主体过小"),
    "warning_subject_cropped": ("The crop cuts the subject", "主体会被裁掉"),
    "warning_not_english": ("Not English", "提示词不是英文"),
    "warning_abstract_words": ("Abstract words", "词语太抽象"),
    "warning_many_actions": ("Many actions", "动作过多"),
    "warning_no_motion": ("No movement", "没有描述动作"),
    "warning_prompt_too_long": ("Long prompt", "提示词过长"),
    "warning_backward_flow": ("Water may flow backwards", "水可能倒流"),
    "warning_guidance_drifts": ("Low guidance", "引导强度偏低"),
    "warning_guidance_stiffens": ("High guidance", "引导强度偏高"),
    "warning_guidance_distorts": ("Very high guidance", "引导强度过高"),
    "warning_guidance": ("Guidance", "引导强度"),
    "warning_segments_drift": ("Segments drift", "画面可能逐渐偏离"),
    "warning_inexact": ("Not the exact clip", "非精确结果"),
    "warning_late": ("Late", "可能超时"),
    # Categories of templates; one that is not here is shown by its own name.
    "category_apparel": ("apparel", "服饰"),
    "category_electronics": ("electronics", "数码"),
    "category_home": ("home", "家居"),
    "category_food": ("food", "美食"),
    "category_animals": ("animals", "动物"),
    "category_beauty": ("beauty", "美妆"),
    "category_jewellery": ("jewellery", "珠宝"),
    "category_toys": ("toys", "玩具"),
    "category_vehicles": ("vehicles", "车辆"),
    "category_landscapes": ("landscapes", "风景"),
    "category_portraits": ("portraits", "人像"),
    "category_art": ("art", "艺术"),
}  # fmt: skip


@dataclass(frozen=True)
class Words:
    """The words of one language."""

    language: str

    def __call__(self, name: str, **values: object) -> str:
        """The row's words, with `values` in their gaps."""
        return TABLE[name][list(LANGUAGES).index(self.language)].format(**values)

    def of(self, kind: str, name: str) -> str:
        """The words for the service's own `name`, such as a preset's; that name where the table has none."""
        return self(f"{kind}_{name}") if f"{kind}_{name}" in TABLE else name

    def told(self, code: str) -> str | None:
        """What a code of the service means; None where its own English is all there is."""
        return sentence(self.language, code)

    def label(self, field: str) -> str:
        """What a field of the API is called here."""
        return self(field) if field in TABLE else field.replace("_", " ")

    def hint(self, name: str) -> str | None:
        """An explanation, where the table has one."""
        return self(name) if name in TABLE else None

    def time(self, seconds: float) -> str:
        whole = max(1, round(seconds))
        if whole < 100:
            return self("seconds", seconds=whole)
        return self("minutes", minutes=whole // 60, seconds=f"{whole % 60:02}")


def preferred(accept_language: str) -> str:
    """The language that a browser's Accept-Language header asks for first; English where it names none of them."""
    asked: list[tuple[float, int, str]] = []
    for part in accept_language.split(","):
        tag, _, quality = part.strip().partition(";q=")
        try:
            asked.append((-float(quality or 1), len(asked), tag.split("-")[0].lower()))
        except ValueError:
            continue
    return next((tag for _, _, tag in sorted(asked) if tag in LANGUAGES), "en")
