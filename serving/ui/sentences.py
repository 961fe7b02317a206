"""What the service says by its codes, in the page's other languages. It says the details in English, which follow."""

from __future__ import annotations

from collections.abc import Mapping

CHINESE: Mapping[str, str] = {
    # Warnings, each with what to do about it.
    "low_resolution": "图片较短的一边不足 512 像素，画面细节会丢失。请换一张更大的图片。",
    "text_in_picture": "图片中似乎有文字，动起来会变形。请裁掉文字，或减小动作幅度。",
    "small_subject": "主体在画面中太小，几乎看不出动作。请裁近一些。",
    "subject_cropped": "主体与视频画幅不符，会被裁掉一部分。请将适配方式改为“补边”，或换一个宽高比。",
    "not_english": "提示词不像英文，而模型只懂英文。请翻译成英文。",
    "abstract_words": "有些词说的是评价，画面上看不出来。请改写颜色、材质、光线或动作。",
    "many_actions": "动作太多，几秒的视频放不下。最多保留三个。",
    "no_motion": "提示词没有说明什么在动。请加上动作，例如 the camera slowly pans to the left。",
    "prompt_too_long": "文字超出模型能读取的长度，后面的部分会丢失。请缩短，或把重要的内容放在前面。",
    "backward_flow": "流水有时会倒着流。请在负面提示词中加上 reverse motion, backward flow。",
    "segments_drift": "每一段都从上一段的最后一帧开始，画面会逐渐偏离原图。请尽量少分段；多镜头的每段都从原图开始。",
    "guidance_drifts": "引导强度偏低，动作可能偏离提示词。",
    "guidance_stiffens": "引导强度偏高，动作可能僵硬。",
    "guidance_distorts": "引导强度过高，画面可能变形。",
    "guidance": "引导强度不在推荐范围内。",
    "inexact": "使用加速后，结果与精确计算略有不同。想要精确结果请取消加速。",
    "late": "预计在截止时间之后才能完成。",
    # Hints of a finished clip.
    "weak_or_warped_motion": "可以提高引导强度和采样步数，或换一张主体更大、更清晰的图片。",
    "too_large_or_slow": "可以减少帧数，或降低分辨率。",
    # Refusals and failures.
    "server_error": "服务处理此请求时出错。",
    "invalid_request": "无法理解此请求。",
    "invalid_prompt": "提示词为空、过长或不是文字。",
    "invalid_parameter": "参数超出允许的范围。",
    "does_not_fit": "没有显卡能容纳这个任务，请减少帧数或降低分辨率。",
    "missing_image": "请先选择图片。",
    "ambiguous_image": "只能使用一张图片。",
    "invalid_image": "图片已损坏或不完整，无法读取。",
    "animated_image": "这是动图，请使用静态图片。",
    "image_dimensions": "图片的边长须在 64 到 8192 像素之间。",
    "image_too_large": "图片的像素太多。",
    "invalid_data_url": "无法读取图片数据。",
    "url_not_allowed": "此服务不允许使用图片网址，请上传文件。",
    "image_fetch_failed": "无法从该网址获取图片。",
    "invalid_api_key": "请输入本服务的 API 密钥。",
    "not_found": "没有找到。",
    "video_not_found": "没有找到这个视频。",
    "model_not_found": "此服务不提供这个模型。",
    "method_not_allowed": "不支持此操作。",
    "request_timeout": "上传超时，请重试。",
    "conflict": "视频当前的状态不允许此操作。",
    "video_not_ready": "视频还没有生成好。",
    "video_failed": "视频生成失败，没有内容。",
    "not_cancellable": "任务已经结束，无法取消。",
    "submission_in_flight": "同一请求正在处理，请稍后再试。",
    "video_expired": "视频或其图片已过期并被删除。",
    "request_too_large": "上传的内容太大。",
    "unsupported_content_type": "不支持这种内容。",
    "unsupported_image_format": "不支持这种图片格式，请使用 JPEG、PNG、WEBP、BMP 或 AVIF 静态图片。",
    "range_not_satisfiable": "请求的范围超出内容。",
    "idempotency_key_reused": "这个请求编号已用于另一次提交。",
    "rate_limit_exceeded": "此密钥的用量已达上限，请稍后再试。",
    "service_unavailable": "服务暂时不可用，请稍后再试。",
    "server_overloaded": "队列已满，请稍后再试。",
    "storage_unavailable": "存储已满或无法访问，请稍后再试。",
    "generation_failed": "模型未能生成这个视频。",
    "encoding_failed": "视频编码失败。",
    "worker_crashed": "多次尝试时显卡进程都意外退出。",
    "insufficient_gpu_memory": "生成时显存不足。",
    "weights_unavailable": "无法加载模型权重。",
    "configuration_invalid": "服务的设置有误。",
}
SENTENCES = {"zh": CHINESE}


def sentence(language: str, code: str) -> str | None:
    """What the code means; None in English, and for a code of which nothing is known."""
    return SENTENCES.get(language, {}).get(code)
